//! What keeps the hooks of a mock, and shows them to the collector.
//!
//! A hook is a Python function that may hold anything of its device, so rings go through Rust: from the hook to a
//! register, on to the mock, and back to the hook. The collector does not see Rust's half. So the mock has its hooks only
//! weakly. `_Mock` owns them, and every Python object that reaches a device holds that object and shows it to the
//! collector: a class with a `Region` or `Device` in it has a `Keep` beside it, and a `__traverse__` that visits it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::hardware::PyMock;

/// What a Python object that reaches a device holds, so that the device's hooks live as long. Empty where that is no mock.
pub(crate) struct Keep(Option<Py<PyMock>>);

impl Keep {
    pub fn new(mock: Option<Py<PyMock>>) -> Keep {
        Keep(mock)
    }

    pub fn mock(&self) -> Option<&Py<PyMock>> {
        self.0.as_ref()
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Keep {
        Keep(self.0.as_ref().map(|mock| mock.clone_ref(py)))
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// The hooks of a mock.
#[derive(Default)]
pub(crate) struct Hooks(Mutex<Vec<Arc<Py<PyAny>>>>);

impl Hooks {
    /// Keeps a function until [`Hooks::clear`].
    pub fn add(&self, function: Py<PyAny>) -> Weak<Py<PyAny>> {
        let function = Arc::new(function);
        let weak = Arc::downgrade(&function);
        self.list().push(function);
        weak
    }

    /// Lets go of all.
    pub fn clear(&self) {
        let taken = std::mem::take(&mut *self.list());
        // What goes with a function may do anything: not under the lock.
        drop(taken);
    }

    /// Shows them to the collector. It never waits: where the list is held, the functions in it are found the next time.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit_all(&self.0, |hooks| hooks.iter().try_for_each(|hook| visit.call(&**hook)))
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Py<PyAny>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Visits what a lock protects, unless somebody holds it this moment: the collector must not wait.
pub(super) fn visit_all<T>(
    all: &Mutex<T>,
    visit: impl FnOnce(&T) -> Result<(), PyTraverseError>,
) -> Result<(), PyTraverseError> {
    match all.try_lock() {
        Ok(all) => visit(&all),
        Err(TryLockError::Poisoned(all)) => visit(all.get_ref()),
        Err(TryLockError::WouldBlock) => Ok(()),
    }
}
