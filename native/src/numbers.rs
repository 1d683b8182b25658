//! Numbers on the command line, with errors in plain words.

use std::{any::TypeId, str::FromStr};

use clap::{Arg, Command, builder::ValueParser};

/// Makes all options of `command` and its subcommands that take a number ignore spaces around it, take a negative one as
/// a value rather than an option, and say what they expect if it is not a number.
pub fn in_plain_words(command: Command) -> Command {
    command.mut_args(plain).mut_subcommands(in_plain_words)
}

fn plain(arg: Arg) -> Arg {
    let of = arg.get_value_parser().type_id();
    let parser = if of == TypeId::of::<f64>() {
        ValueParser::from(number)
    } else if of == TypeId::of::<usize>() {
        ValueParser::from(whole::<usize>)
    } else if of == TypeId::of::<u64>() {
        ValueParser::from(whole::<u64>)
    } else {
        return arg;
    };
    // clap's own rule for negative numbers leaves out those such as -1e-3.
    arg.allow_hyphen_values(true).value_parser(parser)
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.trim().parse().map_err(|_| "this is not a number; write one such as 0.5 or 1e-4")
}

/// Reads a whole number that a TOML file can hold.
fn whole<N: FromStr + TryFrom<i64>>(text: &str) -> Result<N, &'static str> {
    let text = text.trim();
    match text.parse::<i64>() {
        Ok(number) => N::try_from(number).map_err(|_| "it must be 0 or more"),
        Err(_) if !text.is_empty() && text.chars().all(|digit| digit.is_ascii_digit()) => Err("it is too large"),
        Err(_) => Err("this is not a whole number; write one such as 256"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;

    #[derive(Args, Debug, PartialEq)]
    struct Flags {
        #[arg(long, value_delimiter = ',')]
        widths: Vec<f64>,
        #[arg(long, default_value_t = 0.5)]
        rate: f64,
        #[arg(long, default_value_t = 1)]
        batch: usize,
        #[arg(long, default_value_t = 0)]
        seed: u64,
    }

    fn parse(arguments: &[&str]) -> Result<Flags, String> {
        let inner = in_plain_words(Command::new("outer").subcommand(Flags::augment_args(Command::new("inner"))));
        let matches = inner.try_get_matches_from([&["outer", "inner"], arguments].concat());
        let matches = matches.map_err(|error| error.to_string())?;
        Ok(<Flags as clap::FromArgMatches>::from_arg_matches(matches.subcommand().unwrap().1).unwrap())
    }

    #[test]
    fn spaces_and_signs_are_read() {
        let expected = Flags { widths: vec![1.0, 0.5], rate: -0.1, batch: 8, seed: 7 };
        let read = parse(&["--widths", "1.0, 0.5", "--rate", "-0.1", "--batch", " 8", "--seed", "7"]);
        assert_eq!(read, Ok(expected));
        assert_eq!(parse(&["--rate", "-1e-3"]).unwrap().rate, -1e-3);
        assert_eq!(parse(&["--rate", "-inf"]).unwrap().rate, f64::NEG_INFINITY);
    }

    #[test]
    fn errors_say_what_is_expected() {
        for (option, value, expected) in [
            ("--rate", "fast", "this is not a number; write one such as 0.5 or 1e-4"),
            ("--rate", "0,5", "this is not a number"),
            ("--rate", "--batch", "this is not a number"),
            ("--rate", "", "this is not a number"),
            ("--widths", "1.0,,0.5", "this is not a number"),
            ("--batch", "8.0", "this is not a whole number; write one such as 256"),
            ("--batch", "many", "this is not a whole number"),
            ("--batch", "-8", "it must be 0 or more"),
            ("--batch", "99999999999999999999", "it is too large"),
            ("--seed", "9223372036854775808", "it is too large"),
            ("--seed", "-1", "it must be 0 or more"),
        ] {
            let error = parse(&[option, value]).unwrap_err();
            assert!(error.contains(&format!(" for '{option} ")) && error.contains(expected), "{error}");
        }
    }
}
