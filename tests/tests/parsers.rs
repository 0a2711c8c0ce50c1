//! Every parser of outside data against some thousands of mutated inputs: the targets of `fuzz/`
//! without a fuzzer, the same inputs each run.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the file is a library of its own in fuzz/")]
mod fuzz;

use fuzz::{TARGETS, Target};
use std::{fmt::Write as _, path::Path};

const INPUTS: usize = 4_000;

/// A linear congruential generator: enough to choose bytes.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("below 256")
    }
}

/// What grammars turn on.
const WORDS: [&str; 20] = [
    "\"", "{", "}", "[", "]", ":", ",", "0x", "\\", "/", "..", "%2e", "%2F", "//", "\n", " ", "=", "null",
    "-", "\u{e9}",
];

fn mutate(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            0 if !bytes.is_empty() => bytes[at] = dice.byte(),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            4 => {
                let other = &seeds[dice.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[dice.below(other.len())..]);
            }
            5 if !bytes.is_empty() => {
                let end = at + dice.below(bytes.len() - at);
                bytes.extend_from_within(at..end);
            }
            6 => drop(bytes.splice(at..at, [dice.byte()])),
            _ => {
                let word = WORDS[dice.below(WORDS.len())].as_bytes();
                drop(bytes.splice(at..at, word.iter().copied()));
            }
        }
    }
    bytes
}

/// Shows the input of a target that panics.
struct Shown<'a>(&'static str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut hex = String::new();
            self.1.iter().try_for_each(|byte| write!(hex, "{byte:02x}")).expect("a string takes all");
            eprintln!("{} of {}", hex, self.0);
        }
    }
}

fn run(target: &Target) {
    let seeds = (target.seeds)();
    let mut dice = Dice(0x5eed);
    let mutated = std::iter::repeat_with(|| mutate(&mut dice, &seeds)).take(INPUTS);
    for input in seeds.iter().cloned().chain(mutated) {
        let _shown = Shown(target.name, &input);
        (target.run)(&input);
    }
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target")
}

macro_rules! no_mutation_breaks {
    ($( $test:ident: $name:literal, )*) => {
        $( #[test]
        fn $test() {
            run(target($name));
        } )*

        #[test]
        fn every_target_is_run_here_and_by_the_fuzzer() {
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), [$( $name ),*]);
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
            let mut files: Vec<_> = std::fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("a file").path().file_stem().expect("a name").to_owned())
                .collect();
            files.sort();
            let mut names = [$( $name ),*];
            names.sort_unstable();
            assert_eq!(files, names);
        }
    };
}

no_mutation_breaks! {
    a_payment_is_for_a_requirement_and_survives_being_written_again: "payments",
    a_challenge_that_is_understood_can_be_answered: "challenges",
    a_receipt_survives_being_written_again: "receipts",
    a_question_to_a_facilitator_is_about_a_known_asset_or_answered: "facilitations",
    an_answer_of_a_facilitator_is_about_the_payment_or_none: "answers",
    a_path_is_matched_as_it_is_forwarded: "paths",
    a_request_finds_the_deepest_offer_that_owns_its_path_or_none: "routes",
    a_path_belongs_to_the_most_specific_pattern_that_it_fits_or_to_nobody: "patterns",
    a_network_survives_being_written_again: "networks",
    a_sum_is_never_another_one: "amounts",
    a_chain_has_one_id_whatever_it_is_called: "chain_ids",
    a_manifest_that_loads_can_be_sold_and_a_fault_says_where: "manifests",
    an_edit_changes_the_offer_that_is_meant_and_no_other: "edits",
    a_static_route_that_loads_can_be_sold_and_its_file_can_be_written: "pricing",
    a_signature_is_read_as_the_token_takes_it: "signatures",
    no_transfer_explains_two_authorizations: "events",
    a_keystore_survives_being_written_again: "keystores",
}

/// The seeds are good inputs, so that mutations of them reach beyond the first check.
#[test]
fn the_published_vectors_are_among_the_seeds_and_are_read() {
    let taken =
        |seeds: Vec<Vec<u8>>, reads: fn(&[u8]) -> bool| seeds.iter().filter(|seed| reads(seed)).count();
    let registry = obol_core::Registry::built_in();
    assert_eq!(taken(fuzz::seeds::payments(), |seed| obol_wire::decode(Some(seed), None).is_ok()), 1);
    assert_eq!(taken(fuzz::seeds::payments(), |seed| obol_wire::decode(None, Some(seed)).is_ok()), 1);
    let questions = fuzz::seeds::facilitations();
    assert!(questions.iter().all(|seed| obol_wire::Facilitation::read(seed, &registry).is_ok()));
    let listed = |seed: &Vec<u8>| matches!(obol_wire::discovery::Listing::read(seed), Some(Ok(_)));
    assert_eq!(questions.iter().filter(|seed| listed(seed)).count(), 1);
    let receipts = fuzz::seeds::receipts();
    assert_eq!(receipts.iter().filter(|seed| obol_wire::Receipt::decode(seed, &registry).is_ok()).count(), 3);
    let signatures = fuzz::seeds::signatures();
    let kinds = signatures.into_iter().map(|seed| obol_evm::PayerSignature::parse(&seed.into()));
    assert!(kinds.collect::<Result<Vec<_>, _>>().is_ok_and(|kinds| kinds.len() == 3));
    let keystores = fuzz::seeds::keystores();
    assert!(keystores.iter().all(|seed| obol_keystore::Sealed::parse(seed).is_ok()));
    let limits = obol_api::Limits { settle_and_skew: std::time::Duration::from_secs(35), payees: None };
    let text = String::from_utf8(fuzz::seeds::manifests().swap_remove(0)).expect("text");
    let loaded = obol_api::parse(&text, Path::new("offers/seed.yaml"), &registry, &limits);
    assert_eq!((loaded.offers.len(), loaded.faults.as_slice()), (2, &[][..]));
    let text = String::from_utf8(fuzz::seeds::pricing().swap_remove(0)).expect("text");
    let pricing = obol_api::Pricing::parse(&text, Path::new("seed.yaml"), &registry, &limits);
    assert_eq!((pricing.routes.len(), pricing.faults.as_slice()), (4, &[][..]));
}
