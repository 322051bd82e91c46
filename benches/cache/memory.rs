//! The heap memory of tokens and clients, counted in the Rust allocator: allocations of OpenSSL are not counted.
use crate::{RESOURCES, Sides, peer, requests};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::time::Duration;

pub async fn report(sides: &Sides) {
    IS_ENABLED.store(true, Relaxed);
    let length = sides.token.len();
    println!("a token of {length} bytes, cached:");
    println!("  keybound        {:6} bytes", our_token(sides).await);
    println!("  azure_identity  {:6} bytes", their_token(sides).await);
    println!("a new client:");
    let of_ours = allocated_by(|| {
        (0..CLIENTS)
            .map(|_| sides.test_host.client())
            .collect::<Vec<_>>()
    });
    let of_theirs = allocated_by(|| {
        (0..CLIENTS)
            .map(|_| peer::credential(&sides.token))
            .collect::<Vec<_>>()
    });
    println!("  keybound        {:6} bytes", of_ours / CLIENTS);
    println!("  azure_identity  {:6} bytes", of_theirs / CLIENTS);
    let idle = idle_client(sides).await;
    println!("an idle keybound client, with a certificate and a token: {idle} bytes");
}

/// The memory freed by dropping a client with many tokens, minus that of one with one token: the emulator's memory for their
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
    let client = sides.test_host.client();
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

fn allocated_by<T>(create: impl FnOnce() -> T) -> usize {
    let before = live();
    let value = create();
    let after = live();
    drop(value);
    difference(after, before)
}

/// Waits until both sides have closed their connections.
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
/// Enabled after the time measurements, which counting would distort.
static IS_ENABLED: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(change: usize, sign: isize) {
    if IS_ENABLED.load(Relaxed) {
        // No allocation is larger than isize::MAX.
        LIVE.fetch_add(sign * change.cast_signed(), Relaxed);
    }
}

// SAFETY: every call is forwarded unchanged to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller upholds the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above; the pointer is from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

const CLIENTS: usize = 100;
