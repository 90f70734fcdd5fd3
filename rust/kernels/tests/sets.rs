//! Which kernel sets the other tests meet on this processor, said aloud: a set that is missing here was not tested here.
use std::{env, io::Write};

use synapse_kernels::Cpu;

/// Names, comma-separated: the sets that the tests must find, where their caller knows the processor.
const EXPECTED: &str = "SYNAPSE_TEST_KERNELS";

#[test]
fn kernel_sets_of_this_processor() {
    let (here, known) = (Cpu::available(), Cpu::known());
    let missing: Vec<_> = known.into_iter().filter(|name| !here.contains(name)).collect();
    let tested = format!("kernel sets tested: {}", here.join(", "));
    let report = match missing.is_empty() {
        true => format!("{tested} (all of {})", env::consts::ARCH),
        false => format!("{tested}; NOT tested, since this processor cannot run them: {}", missing.join(", ")),
    };
    // Test runners capture what is printed, but not what is written.
    writeln!(std::io::stderr(), "{report}").unwrap();
    if let Ok(expected) = env::var(EXPECTED) {
        assert_eq!(here.join(","), expected, "{EXPECTED}");
    }
}

#[test]
fn every_set_found_is_a_known_one_and_portable_is_the_last() {
    let (here, known) = (Cpu::available(), Cpu::known());
    assert!(here.iter().all(|name| known.contains(name)), "{here:?} of {known:?}");
    assert_eq!((here.last(), known.last()), (Some(&"portable"), Some(&"portable")));
}

#[test]
fn a_set_that_cannot_run_is_refused_by_name() {
    let error = Cpu::with_kernels(1, "mmx").err().unwrap();
    assert!(error.contains("`mmx`") && error.contains("portable"), "{error}");
}
