//! Which kernel set runs: the one that the environment names, or the best. Knows none of them.
use std::ffi::OsString;

use synapse_kernels::Cpu;

use crate::{Error, Result};

/// The environment variable that forces a kernel set. Empty counts as not set.
const VARIABLE: &str = "SYNAPSE_KERNELS";

/// The machine with its kernel set.
pub fn chosen(threads: usize) -> Result<Cpu> {
    choose(std::env::var_os(VARIABLE), threads)
}

/// The name of the kernel set that models run on, such as `x86-avx2`.
///
/// # Errors
/// [`Error::Request`] if `SYNAPSE_KERNELS` names a set that this processor cannot run.
pub fn name() -> Result<&'static str> {
    chosen(1).map(|cpu| cpu.kernels())
}

fn choose(wanted: Option<OsString>, threads: usize) -> Result<Cpu> {
    match wanted.filter(|name| !name.is_empty()) {
        None => Ok(Cpu::new(threads)),
        Some(name) => Cpu::with_kernels(threads, &name.to_string_lossy())
            .map_err(|reason| Error::Request { param: VARIABLE.into(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(wanted: Option<&str>) -> Result<&'static str> {
        choose(wanted.map(Into::into), 1).map(|cpu| cpu.kernels())
    }

    #[test]
    fn the_best_set_runs_unless_another_is_named() {
        assert_eq!(kernels(None).unwrap(), Cpu::available()[0]);
        assert_eq!(kernels(Some("")).unwrap(), Cpu::available()[0]);
        for name in Cpu::available() {
            assert_eq!(kernels(Some(name)).unwrap(), name);
        }
    }

    #[test]
    fn a_set_that_cannot_run_is_refused_with_those_that_can() {
        let error = kernels(Some("x86-mmx")).unwrap_err();
        assert!(matches!(&error, Error::Request { param, .. } if param == "SYNAPSE_KERNELS"));
        let message = error.to_string();
        assert!(message.contains("`x86-mmx`") && Cpu::available().iter().all(|name| message.contains(name)));
    }
}
