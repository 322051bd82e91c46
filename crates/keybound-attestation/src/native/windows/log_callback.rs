//! The log callback of the library, which it calls from any of its threads at any time.
#![allow(unsafe_code, reason = "the C side of the library")]
use crate::native::log_line::{LineLimit, LogLine};
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `LogFunc` of the library. The context is the [`LineLimit`] that was passed at the start.
pub(super) type LogFunction = unsafe extern "C" fn(
    context: *mut c_void,
    tag: *const c_char,
    level: c_int,
    function: *const c_char,
    line: c_int,
    message: *const c_char,
);

/// Logs a line, within the limit. A panic of a subscriber does not unwind into the library.
///
/// # Safety
/// The context is NULL or an `&'static LineLimit`; each text is NULL or readable up to its NUL, during the call.
pub(super) unsafe extern "C" fn log(
    context: *mut c_void,
    tag: *const c_char,
    level: c_int,
    function: *const c_char,
    line: c_int,
    message: *const c_char,
) {
    // SAFETY: by this function's contract.
    let limit = unsafe { context.cast::<LineLimit>().as_ref() };
    if !limit.is_some_and(LineLimit::admits) {
        return;
    }
    let logged = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by this function's contract.
        let [tag, function, message] =
            [tag, function, message].map(|text| unsafe { bounded(text, MAX_TEXT) });
        LogLine {
            level,
            tag: tag.unwrap_or_default(),
            function: function.unwrap_or_default(),
            number: line,
            message: message.unwrap_or_default(),
        }
        .log();
    }));
    if let Err(panic) = logged {
        // Its destructor could panic again.
        std::mem::forget(panic);
    }
}

/// Reads a C string without its NUL, at most `max` bytes; `None` if the pointer is NULL.
///
/// # Safety
/// The pointer is NULL or readable up to its NUL for `'a`.
pub(super) unsafe fn bounded<'a>(text: *const c_char, max: usize) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    let text = text.cast::<u8>();
    let mut length = 0;
    // SAFETY: no byte before is NUL, so this one is within what the caller guarantees.
    while length < max && unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: these bytes were just read.
    Some(unsafe { std::slice::from_raw_parts(text, length) })
}

/// Limit of a text from the library, in bytes.
const MAX_TEXT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tracing::span;

    #[test]
    fn reads_texts_to_nul_and_limit() {
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
            panic!("a subscriber that panics");
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
    fn catches_panic_of_subscriber() {
        static SUBSCRIBER: Panicking = Panicking(AtomicBool::new(false));
        static LIMIT: LineLimit = LineLimit::new();
        let text = c"text".as_ptr();
        tracing::subscriber::with_default(&SUBSCRIBER, || {
            // SAFETY: the context is a line limit, the texts are C strings.
            unsafe {
                log((&raw const LIMIT).cast_mut().cast(), text, 0, text, 1, text);
            }
        });
        assert!(SUBSCRIBER.0.load(Ordering::Relaxed));
    }

    #[test]
    fn accepts_null_pointers() {
        static SUBSCRIBER: Panicking = Panicking(AtomicBool::new(false));
        static LIMIT: LineLimit = LineLimit::new();
        let null = std::ptr::null();
        let limit = (&raw const LIMIT).cast_mut().cast();
        let is_logged = |context| {
            tracing::subscriber::with_default(&SUBSCRIBER, || {
                // SAFETY: NULL is allowed for each pointer; the other context is a line limit.
                unsafe { log(context, null, i32::MIN, null, i32::MIN, null) };
            });
            SUBSCRIBER.0.load(Ordering::Relaxed)
        };
        assert!(!is_logged(std::ptr::null_mut()));
        assert!(is_logged(limit));
    }
}
