//! Every input in t/corpus goes through the fuzz target that it is for: hand-written ones, and those
//! that fuzzing found (docs/fuzzing.md).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../../xt/fuzz/src/targets/mod.rs"]
#[allow(unsafe_code)]
mod targets;

const LONGEST: Duration = Duration::from_secs(30);

fn inputs(target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("t/corpus")
        .join(target);
    let mut inputs: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn every_input_keeps_the_promises() {
    for (name, target) in targets::ALL {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "no inputs for {name}");
        let start = Instant::now();
        for input in &inputs {
            // Shown if it fails.
            println!("{}", input.display());
            target(&fs::read(input).unwrap());
        }
        println!("{name}: {} inputs in {:?}", inputs.len(), start.elapsed());
        assert!(start.elapsed() < LONGEST, "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn every_corpus_has_a_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("t/corpus");
    for entry in fs::read_dir(corpora).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            targets::ALL.iter().any(|(target, _)| name == *target),
            "no target {name:?}"
        );
    }
}
