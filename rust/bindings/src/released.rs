//! Values whose end takes time or waits for other threads, dropped without the GIL.

use std::ops::Deref;

use pyo3::Python;

/// Drops its value with the GIL released. Python drops objects while it holds the GIL: a value that joins threads, of
/// which one may want the GIL, would wait for ever.
pub(crate) struct Released<T: Send>(Option<T>);

impl<T: Send> Released<T> {
    pub(crate) fn new(value: T) -> Self {
        Released(Some(value))
    }
}

impl<T: Send> Deref for Released<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("taken only by drop")
    }
}

impl<T: Send> Drop for Released<T> {
    fn drop(&mut self) {
        let mut value = self.0.take();
        // Without an interpreter (it is ending) there is no GIL to release.
        Python::try_attach(|py| {
            let value = value.take();
            py.detach(move || drop(value));
        });
    }
}
