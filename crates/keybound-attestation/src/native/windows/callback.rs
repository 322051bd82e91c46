//! What the library calls, from any of its threads, at any time.
#![allow(unsafe_code, reason = "the C side of the library")]
use crate::native::lines::{Allowance, Line};
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `LogFunc` of the library. The context is the [`Allowance`] that it was started with.
pub(super) type LogFunction = unsafe extern "C" fn(
    context: *mut c_void,
    tag: *const c_char,
    level: c_int,
    function: *const c_char,
    line: c_int,
    message: *const c_char,
);

/// Logs a line, if one more is admitted. No panic of a subscriber crosses into the library.
///
/// # Safety
/// The context is NULL or an `&'static Allowance`; each text is NULL or readable up to its NUL, during the call.
pub(super) unsafe extern "C" fn log(
    context: *mut c_void,
    tag: *const c_char,
    level: c_int,
    function: *const c_char,
    line: c_int,
    message: *const c_char,
) {
    // SAFETY: by this function's contract.
    let allowance = unsafe { context.cast::<Allowance>().as_ref() };
    if !allowance.is_some_and(Allowance::admits) {
        return;
    }
    let logged = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by this function's contract.
        let [tag, function, message] =
            [tag, function, message].map(|text| unsafe { bounded(text, LONGEST_TEXT) });
        Line {
            level,
            tag: tag.unwrap_or_default(),
            function: function.unwrap_or_default(),
            number: line,
            message: message.unwrap_or_default(),
        }
        .tell();
    }));
    if let Err(panic) = logged {
        // Its destructor could panic again.
        std::mem::forget(panic);
    }
}

/// A C string without its NUL, at most so many bytes of it; nothing where the pointer is NULL.
///
/// # Safety
/// The pointer is NULL or readable up to its NUL for `'a`.
pub(super) unsafe fn bounded<'a>(text: *const c_char, longest: usize) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    let text = text.cast::<u8>();
    let mut length = 0;
    // SAFETY: all bytes before were not NUL, so this one is still within what the caller promises.
    while length < longest && unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: so many bytes were just read.
    Some(unsafe { std::slice::from_raw_parts(text, length) })
}

/// Of a longer text of the library, no more is read, in bytes.
const LONGEST_TEXT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tracing::span;

    #[test]
    fn texts_are_read_to_their_nul_and_no_further_than_asked() {
        let text = c"abc".as_ptr();
        // SAFETY: the text is a C string.
        unsafe {
            assert_eq!(bounded(text, 10), Some(&b"abc"[..]));
            assert_eq!(bounded(text, 2), Some(&b"ab"[..]));
            assert_eq!(bounded(std::ptr::null(), 2), None);
        }
    }

    struct Panicking(AtomicBool);

    impl tracing::Subscriber for &'static Panicking {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            self.0.store(true, Ordering::Relaxed);
            panic!("a listener that panics");
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
        fn register_callsite(
            &self,
            _: &'static tracing::Metadata<'static>,
        ) -> tracing::subscriber::Interest {
            tracing::subscriber::Interest::sometimes()
        }
    }

    #[test]
    fn a_listeners_panic_ends_in_the_callback() {
        static LISTENER: Panicking = Panicking(AtomicBool::new(false));
        static ALLOWANCE: Allowance = Allowance::new();
        let text = c"text".as_ptr();
        tracing::subscriber::with_default(&LISTENER, || {
            // SAFETY: the context is an allowance, the texts are C strings.
            unsafe {
                log(
                    (&raw const ALLOWANCE).cast_mut().cast(),
                    text,
                    0,
                    text,
                    1,
                    text,
                );
            }
        });
        assert!(LISTENER.0.load(Ordering::Relaxed));
    }

    #[test]
    fn null_for_everything_is_borne() {
        let null = std::ptr::null();
        static ALLOWANCE: Allowance = Allowance::new();
        // SAFETY: NULL is allowed for each pointer.
        unsafe {
            log(std::ptr::null_mut(), null, 0, null, 0, null);
            log(
                (&raw const ALLOWANCE).cast_mut().cast(),
                null,
                i32::MIN,
                null,
                i32::MIN,
                null,
            );
        }
    }
}
