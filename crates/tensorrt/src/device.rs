//! Whether there is a GPU, asked of the driver directly.
//!
//! TensorRT answers a missing GPU with whatever CUDA error came first, so failures are told apart
//! here. The driver's library is opened at run time; its absence is an answer, not a failure.

use std::ffi::{c_char, c_int, c_uint};

use libloading::os::unix::Library;

use crate::shim::copied;

/// A GPU of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Name that the driver gives it.
    pub name: String,
    /// Compute capability, such as 8 and 6.
    pub compute_capability: (u32, u32),
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// The newest CUDA version that the driver serves, such as 13 and 0.
    pub driver_cuda: (u32, u32),
}

impl Device {
    /// Why this flavour of TensorRT runs no engine on it; nothing where it does.
    #[cfg(not(feature = "enterprise"))]
    #[must_use]
    pub fn unserved(&self) -> Option<String> {
        let (major, minor) = self.compute_capability;
        if crate::ComputeCapability::of_version(major, minor).is_some() {
            return None;
        }
        let served: Vec<String> = crate::ComputeCapability::ALL.iter().map(ToString::to_string).collect();
        let served = served.join(", ");
        Some(format!("TensorRT-RTX runs on compute capability {served}; {} has {major}.{minor}", self.name))
    }

    /// Why this flavour of TensorRT runs no engine on it; nothing where it does.
    #[cfg(feature = "enterprise")]
    #[must_use]
    pub fn unserved(&self) -> Option<String> {
        let (major, minor) = self.compute_capability;
        let old = (major, minor) < (7, 5);
        old.then(|| format!("TensorRT runs on compute capability 7.5 and later; {} has {major}.{minor}", self.name))
    }
}

/// Why no GPU can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoDevice {
    /// The driver's library is not installed.
    #[error("the NVIDIA driver is not installed (libcuda.so.1)")]
    NoDriver(#[source] libloading::Error),
    /// The driver's library lacks a function.
    #[error("the NVIDIA driver is too old")]
    OldDriver(#[source] libloading::Error),
    /// The driver does not work.
    #[error("the NVIDIA driver does not work: {call} gives error {code}")]
    Driver {
        /// The call that failed.
        call: &'static str,
        /// CUDA's number of the error.
        code: i32,
    },
    /// The driver works and sees no GPU.
    #[error("the NVIDIA driver sees no GPU")]
    NoGpu,
}

impl NoDevice {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDriver(_) | Self::OldDriver(_) => {
                "install a current NVIDIA driver, or use a machine that has a GPU".to_owned()
            }
            Self::Driver { .. } | Self::NoGpu => {
                "check that `nvidia-smi` lists a GPU and that this process may use it".to_owned()
            }
        })
    }
}

type Result<T> = std::result::Result<T, NoDevice>;

const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

impl Device {
    /// The GPUs that the driver lets this process use; at least one.
    ///
    /// # Errors
    /// [`NoDevice`] when there is none to use.
    pub fn all() -> Result<Vec<Self>> {
        let driver = Driver::open()?;
        let mut version: c_int = 0;
        // SAFETY: writes one number.
        check("cuDriverGetVersion", unsafe { (driver.version)(&mut version) })?;
        let version = version.unsigned_abs();
        let mut count: c_int = 0;
        // SAFETY: writes one number.
        check("cuDeviceGetCount", unsafe { (driver.count)(&mut count) })?;
        if count < 1 {
            return Err(NoDevice::NoGpu);
        }
        (0..count).map(|index| driver.describe(index, (version / 1000, version / 10 % 100))).collect()
    }
}

/// The driver's functions used here; the library stays open for the rest of the process.
struct Driver {
    version: unsafe extern "C" fn(*mut c_int) -> c_int,
    count: unsafe extern "C" fn(*mut c_int) -> c_int,
    get: unsafe extern "C" fn(*mut c_int, c_int) -> c_int,
    name: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int,
    attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int,
    memory: unsafe extern "C" fn(*mut usize, c_int) -> c_int,
}

impl Driver {
    fn open() -> Result<Self> {
        // SAFETY: the driver's initialisers are made to be run by any program.
        let library = unsafe { Library::new("libcuda.so.1") }.map_err(NoDevice::NoDriver)?;
        let library = std::mem::ManuallyDrop::new(library);
        // SAFETY: the types are those of cuda.h for these names.
        let (init, driver) = unsafe {
            let init: unsafe extern "C" fn(c_uint) -> c_int = entry(&library, "cuInit")?;
            let driver = Self {
                version: entry(&library, "cuDriverGetVersion")?,
                count: entry(&library, "cuDeviceGetCount")?,
                get: entry(&library, "cuDeviceGet")?,
                name: entry(&library, "cuDeviceGetName")?,
                attribute: entry(&library, "cuDeviceGetAttribute")?,
                memory: entry(&library, "cuDeviceTotalMem_v2")?,
            };
            (init, driver)
        };
        // SAFETY: takes flags, of which 0 is the only value defined.
        check("cuInit", unsafe { init(0) })?;
        Ok(driver)
    }

    fn describe(&self, index: c_int, driver_cuda: (u32, u32)) -> Result<Device> {
        let (mut device, mut major, mut minor) = (0, 0, 0);
        let (mut memory, mut name) = (0_usize, [0 as c_char; 256]);
        // SAFETY: each call writes one number, or at most 255 bytes and a zero into `name`.
        let name = unsafe {
            check("cuDeviceGet", (self.get)(&mut device, index))?;
            check("cuDeviceGetName", (self.name)(name.as_mut_ptr(), 255, device))?;
            check("cuDeviceGetAttribute", (self.attribute)(&mut major, COMPUTE_CAPABILITY_MAJOR, device))?;
            check("cuDeviceGetAttribute", (self.attribute)(&mut minor, COMPUTE_CAPABILITY_MINOR, device))?;
            check("cuDeviceTotalMem", (self.memory)(&mut memory, device))?;
            copied(name.as_ptr())
        };
        Ok(Device {
            name: name.unwrap_or_default(),
            compute_capability: (major.unsigned_abs(), minor.unsigned_abs()),
            memory_bytes: memory as u64,
            driver_cuda,
        })
    }
}

/// # Safety
/// `T` is the type of the function of that name.
unsafe fn entry<T: Copy>(library: &Library, name: &'static str) -> Result<T> {
    // SAFETY: by contract; the library is never closed.
    let symbol = unsafe { library.get::<T>(name) };
    symbol.map(|it| *it).map_err(NoDevice::OldDriver)
}

fn check(call: &'static str, code: c_int) -> Result<()> {
    const NO_DEVICE: c_int = 100;
    match code {
        0 => Ok(()),
        NO_DEVICE => Err(NoDevice::NoGpu),
        code => Err(NoDevice::Driver { call, code }),
    }
}
