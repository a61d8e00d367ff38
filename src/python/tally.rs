//! `_Tally`: what `devregs.coverage` is made of.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::device::PyDevice;
use super::map::PyMap;
use crate::device::Device;
use crate::trace::Tally;

/// What was ever read and written of the devices of one map.
#[pyclass(name = "_Tally", module = "devregs._devregs", frozen)]
pub(crate) struct PyTally {
    tally: Arc<Tally>,
    /// Those it listens to. It keeps none of them alive.
    devices: Mutex<Vec<Weak<Device>>>,
}

#[pymethods]
impl PyTally {
    #[new]
    fn new(map: &Bound<'_, PyMap>) -> PyTally {
        PyTally { tally: Arc::new(Tally::new(map.get().model().clone())), devices: Mutex::default() }
    }

    /// Count the accesses of a device too. Its map is to be the same, read from the same text.
    fn attach(&self, device: &Bound<'_, PyDevice>) {
        let device = device.get().device();
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.retain(|other| other.strong_count() > 0);
        devices.push(Arc::downgrade(device));
        device.start_tally(self.tally.clone());
    }

    /// Count no more.
    fn stop(&self) {
        let devices = std::mem::take(&mut *self.devices.lock().unwrap_or_else(PoisonError::into_inner));
        devices.iter().filter_map(Weak::upgrade).for_each(|device| device.stop_tally(&self.tally));
    }

    /// What was touched, as JSON.
    fn to_json(&self) -> PyResult<String> {
        self.tally.to_json().map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }
}
