//! What is built without the feature `sabotage` knows nothing of it.

use tributary_tests::process::binary;

#[test]
fn the_binaries_hold_no_switch_that_breaks_them() {
    for program in ["capture", "apply"] {
        let bytes = std::fs::read(binary(program)).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(holds(b"TRIBUTARY__"), "{program}: the search finds what must be there");
        assert!(!holds(b"TRIBUTARY_SABOTAGE"), "{program} was built with the feature `sabotage`");
    }
}
