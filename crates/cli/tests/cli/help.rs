//! The help texts, as users read them.

use crate::program::run;

#[test]
fn of_the_program() {
    insta::assert_snapshot!(run(&["--help"]));
}

#[test]
fn of_every_command() {
    let listing = run(&["--help"]).stdout;
    let commands = listing.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let first_lines = commands.filter(|line| !line[2..].starts_with(' '));
    let names = first_lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let names: Vec<&str> = names.collect();
    assert!(names.contains(&"doctor"), "{names:?}");
    for name in names {
        let help = run(&[name, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{name}");
        insta::assert_snapshot!(format!("of_{name}"), help.stdout);
    }
}

#[test]
fn without_a_command_the_help_is_an_error() {
    let answer = run::<&str>(&[]);
    assert_eq!((answer.code, answer.stdout.as_str()), (2, ""));
    assert!(answer.stderr.contains("Usage: trtforge"));
}
