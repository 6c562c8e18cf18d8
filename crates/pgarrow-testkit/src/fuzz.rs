//! Runs the body of a fuzz target without libFuzzer: on every seed as it is, and on many random changes of
//! seeds.
//!
//! The changes are the same in every run. libFuzzer (`just fuzz`) finds more, but needs a nightly compiler;
//! this runs with all other tests.

use std::env;
use std::fs;
use std::path::Path;

/// How many inputs, unless `PGARROW_FUZZ_INPUTS` says otherwise.
const INPUTS: u64 = 20_000;

/// Values that often break lengths, counts and dates.
const INTERESTING: [u8; 8] = [0, 1, 4, 0x3f, 0x7f, 0x80, 0xfe, 0xff];

/// Runs `check` on the files of the folder `seeds`, and on random changes of them.
///
/// # Panics
///
/// When `check` does, after printing its input.
pub fn run(seeds: &Path, check: fn(&[u8])) {
    run_part(seeds, check, 1);
}

/// As [`run`], with one `part`-th of the inputs: for bodies that use sockets.
///
/// # Panics
///
/// When `check` does, after printing its input.
pub fn run_part(seeds: &Path, check: fn(&[u8]), part: u64) {
    let mut files: Vec<_> =
        fs::read_dir(seeds).expect("a folder of seeds").map(|f| f.expect("a file").path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).expect("a seed")).collect();
    assert!(!seeds.is_empty(), "no seeds");
    seeds.iter().for_each(|seed| check_one(seed, check));

    let n_inputs =
        env::var("PGARROW_FUZZ_INPUTS").ok().map(|n| n.parse().expect("PGARROW_FUZZ_INPUTS: a number"));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..n_inputs.unwrap_or(INPUTS) / part.max(1) {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            change(&mut input, &seeds, &mut random);
        }
        check_one(&input, check);
    }
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(8) {
        0 => input.truncate(at),
        1 => input.insert(at, random.next() as u8),
        2 => input.extend((0..random.below(16)).map(|_| random.next() as u8)),
        3 => {
            let piece: Vec<u8> = input[at..].iter().take(random.below(32)).copied().collect();
            input.splice(at..at, piece);
        }
        4 => {
            let other = &seeds[random.below(seeds.len())];
            input.truncate(at);
            input.extend(&other[random.below(other.len() + 1)..]);
        }
        5 => drop(input.drain(at..input.len().min(at + 4))),
        kind => {
            if let Some(byte) = input.get_mut(at) {
                *byte = if kind == 6 {
                    INTERESTING[random.below(INTERESTING.len())]
                } else {
                    *byte ^ 1 << random.below(8)
                };
            }
        }
    }
}

/// Prints the input if `check` panics.
fn check_one(input: &[u8], check: fn(&[u8])) {
    struct Input<'a>(&'a [u8]);
    impl Drop for Input<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input was {:?}", self.0.escape_ascii().to_string());
            }
        }
    }
    let input = Input(input);
    check(input.0);
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}
