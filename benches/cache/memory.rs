//! What tokens and clients hold of the heap, as the Rust allocator counts it: what OpenSSL allocates is not seen.
use crate::{RESOURCES, Sides, peer, requests};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::time::Duration;

pub async fn report(sides: &Sides) {
    COUNTS.store(true, Relaxed);
    let length = sides.token.len();
    println!("a token of {length} bytes, cached:");
    println!("  keybound        {:6} bytes", our_token(sides).await);
    println!("  azure_identity  {:6} bytes", their_token(sides).await);
    println!("a client that has asked for nothing:");
    let of_ours = held(|| {
        (0..CLIENTS)
            .map(|_| sides.world.client())
            .collect::<Vec<_>>()
    });
    let of_theirs = held(|| {
        (0..CLIENTS)
            .map(|_| peer::credential(&sides.token))
            .collect::<Vec<_>>()
    });
    println!("  keybound        {:6} bytes", of_ours / CLIENTS);
    println!("  azure_identity  {:6} bytes", of_theirs / CLIENTS);
    let idle = idle_client(sides).await;
    println!("a keybound client at rest, with a certificate and a token: {idle} bytes");
}

/// Freed by dropping a client with many tokens, over one with a single one: what the emulator holds of their
/// connections cancels out.
async fn our_token(sides: &Sides) -> usize {
    let many = freed_with(sides, RESOURCES).await;
    let one = freed_with(sides, 1).await;
    many.saturating_sub(one) / (RESOURCES - 1)
}

async fn idle_client(sides: &Sides) -> usize {
    freed_with(sides, 1).await
}

async fn freed_with(sides: &Sides, resources: usize) -> usize {
    let client = sides.world.client();
    requests::fill(&client, resources).await;
    settle().await;
    let before = live();
    drop(client);
    settle().await;
    difference(before, live())
}

async fn their_token(sides: &Sides) -> usize {
    let credential = peer::credential(&sides.token);
    peer::fill(&*credential, 1).await;
    let before = live();
    peer::fill(&*credential, RESOURCES).await;
    difference(live(), before) / (RESOURCES - 1)
}

fn held<T>(make: impl FnOnce() -> T) -> usize {
    let before = live();
    let made = make();
    let after = live();
    drop(made);
    difference(after, before)
}

/// Lets both sides close what they have to close.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

fn difference(more: isize, less: isize) -> usize {
    usize::try_from(more - less).unwrap_or(0)
}

fn live() -> isize {
    LIVE.load(Relaxed)
}

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
/// Only when all is timed: a side that allocates more would pay more for the counting.
static COUNTS: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(change: usize, sign: isize) {
    if COUNTS.load(Relaxed) {
        // No allocation is larger than isize::MAX.
        LIVE.fetch_add(sign * change.cast_signed(), Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

const CLIENTS: usize = 100;
