//! Completion scripts and manual pages.

use crate::program::run;

#[test]
fn every_shell_has_a_script_that_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let answer = run(&["completions", shell]);
        assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{shell}");
        assert!(answer.stdout.contains("doctor"), "{shell}");
    }
}

#[test]
fn the_manual_page_is_one_and_names_the_exit_codes() {
    let page = run(&["man"]);
    assert_eq!(page.code, 0);
    assert!(page.stdout.contains(".TH trtforge 1"));
    assert!(page.stdout.contains("Exit codes"));
}

#[test]
fn one_manual_page_per_command() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = folder.path().join("man");
    assert_eq!(run(&["man".as_ref(), "-o".as_ref(), pages.as_os_str()]).code, 0);
    for page in ["trtforge.1", "trtforge-doctor.1", "trtforge-completions.1"] {
        assert!(pages.join(page).is_file(), "{page}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_wrong_usage() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let answer = run(&["man".as_ref(), "-o".as_ref(), file.path().join("man").as_os_str()]);
    assert_eq!(answer.code, 2, "{answer}");
    assert!(answer.stderr.starts_with("error: cannot create "), "{answer}");
}
