//! Keeps a panic of redb or of a projection inside the call that made it: derived state never takes the daemon along.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; a panic comes back as its text. The caller must not use again what `work` was changing.
pub(super) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| text_of(&*panic))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&'static str>().copied())
        .unwrap_or("no text");
    format!("panicked: {text}")
}

#[cfg(test)]
mod tests {
    use super::contain;

    #[test]
    fn a_panic_comes_back_as_its_text() {
        assert_eq!(contain(|| 7), Ok(7));
        let seq = 9;
        assert_eq!(contain(|| panic!("entry {seq}")), Err::<(), _>("panicked: entry 9".to_owned()));
        assert_eq!(contain(|| panic!("plain")), Err::<(), _>("panicked: plain".to_owned()));
    }
}
