pub(super) mod certificates;
pub(super) mod fake_windows;
