//! Which passwords are taken. Rules about kinds of characters make passwords worse; what counts is how much of one cannot be foreseen by whoever guesses.

use super::refusal::FieldErrors;

const LEN: std::ops::RangeInclusive<usize> = 12..=256;
/// Different characters, at least.
const MIN_DISTINCT: usize = 5;
/// Characters that count, at least. With fewer it is among the first things that are tried.
const MIN_COUNTED: usize = 8;
/// What stood in the password before and comes again counts as one character, from this length on.
const MIN_REPEATED: usize = 4;
/// Neighbours in one of these, in either direction: from the third on they do not count.
const ROWS: [&str; 8] = [
    "abcdefghijklmnopqrstuvwxyzab",
    "0123456789012",
    "qwertyuiop",
    "qwertzuiop",
    "asdfghjkl",
    "zxcvbnm",
    "yxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
];
/// Counts as one character each, however it is spelled: what passwords of devices are made of.
const WORDS: [&str; 40] = [
    "password",
    "passwort",
    "passphrase",
    "admin",
    "administrator",
    "login",
    "welcome",
    "letmein",
    "secret",
    "changeme",
    "default",
    "root",
    "user",
    "test",
    "hello",
    "iloveyou",
    "dragon",
    "monkey",
    "football",
    "baseball",
    "master",
    "sunshine",
    "princess",
    "shadow",
    "superman",
    "batman",
    "trustno",
    "computer",
    "internet",
    "server",
    "raspberry",
    "lucid",
    "node",
    "manager",
    "summer",
    "winter",
    "spring",
    "autumn",
    "charlie",
    "jordan",
];

/// Length, different characters, and how many of them count. `names` are what everybody knows of the person, such as the user name.
pub fn check_password(errors: &mut FieldErrors, field: &str, password: &str, names: &[&str]) {
    let text: Vec<char> = password.to_lowercase().chars().collect();
    if !LEN.contains(&password.chars().count()) {
        errors.add(field, "must have 12 to 256 characters");
    } else if text.iter().collect::<std::collections::HashSet<_>>().len() < MIN_DISTINCT {
        errors.add(field, format!("must have at least {MIN_DISTINCT} different characters"));
    } else if counted(&text, names) < MIN_COUNTED {
        errors.add(field, "is too easy to guess: repetitions, runs like 1234 or qwerty, common words and the user name hardly count");
    }
}

/// Characters of a lower-case text that do not follow from those before them or from what everybody tries.
fn counted(text: &[char], names: &[&str]) -> usize {
    let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).filter(|name| name.chars().count() > 2).collect();
    let words: Vec<&str> = WORDS.into_iter().chain(names.iter().map(String::as_str)).collect();
    let (mut at, mut counted) = (0, 0);
    while let Some(c) = text.get(at) {
        let word = words.iter().filter_map(|word| begins_with(&text[at..], word)).max().unwrap_or(0);
        let known = word.max(repeated(text, at));
        if known > 0 {
            (at, counted) = (at + known, counted + 1);
            continue;
        }
        let follows = (at > 0 && text[at - 1] == *c) || (at > 1 && is_run(&text[at - 2..=at]));
        counted += usize::from(!follows);
        at += 1;
    }
    counted
}

/// The length of `word` when the text begins with it, as it is or with digits and signs for letters.
fn begins_with(text: &[char], word: &str) -> Option<usize> {
    let length = word.chars().count();
    let alike = |(given, wanted): (&char, char)| *given == wanted || letter(*given) == wanted;
    (text.len() >= length && text.iter().zip(word.chars()).all(alike)).then_some(length)
}

/// What stands for a letter.
fn letter(c: char) -> char {
    match c {
        '4' | '@' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// How much of the text at `at` has stood before, beginning anywhere; 0 when it is less than `MIN_REPEATED`.
fn repeated(text: &[char], at: usize) -> usize {
    let common = |from: usize| text[from..].iter().zip(&text[at..]).take_while(|(a, b)| a == b).count();
    (0..at).map(common).max().filter(|length| *length >= MIN_REPEATED).unwrap_or(0)
}

fn is_run(three: &[char]) -> bool {
    let (there, back): (String, String) = (three.iter().collect(), three.iter().rev().collect());
    ROWS.iter().any(|row| row.contains(&there) || row.contains(&back))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(password: &str, name: &str) -> Option<String> {
        let mut errors = FieldErrors::default();
        check_password(&mut errors, "password", password, &[name]);
        assert!(errors.0.len() <= 1 && errors.0.iter().all(|error| error.field == "password"));
        errors.0.first().map(|error| error.message.clone())
    }

    fn counts(password: &str) -> usize {
        counted(&password.chars().collect::<Vec<_>>(), &["grace"])
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let long = |length: usize| "zäöü kugel baum 17 ".chars().cycle().take(length).collect::<String>();
        for (length, fits) in [(11, false), (12, true), (256, true), (257, false)] {
            assert_eq!(refusal(&long(length), "ada").is_none(), fits, "{length}");
        }
        assert_eq!(refusal("short", "ada").unwrap(), "must have 12 to 256 characters");
    }

    #[test]
    fn fewer_than_five_different_characters_are_too_few() {
        let few = "must have at least 5 different characters";
        assert_eq!(refusal("abzabbzazbzaazzbab", "ada").as_deref(), Some(few));
        assert_eq!(refusal("kxvkvvxxtkvtttxkk", "ada").as_deref(), Some(few), "four");
        assert_eq!(refusal("kxvpvvxxtkvtttxkp", "ada"), None, "five");
        assert_eq!(refusal("AaAaAaBbBbCcCcDd", "ada").as_deref(), Some(few), "case makes no other character");
    }

    #[test]
    fn what_everybody_tries_hardly_counts() {
        let cases = [
            ("123456789012", 2),
            ("aaaaaaaaaaaa", 2),
            ("passwordpassword", 2),
            ("qwertyuiop12", 4),
            ("1qaz2wsx3edc", 2),
            ("lkjhgfdsa987", 4),
            ("xk9qxk9qxk9q", 5),
            ("p@$$w0rd2026", 5),
            ("gracegrace77", 3),
            ("abcabcabcabc", 3),
            ("kxbqmz vtwjh", 12),
        ];
        for (password, expected) in cases {
            assert_eq!(counts(password), expected, "{password}");
        }
        let weak = [
            "123456789012",
            "aaaaaaaaaaaa",
            "passwordpassword",
            "qwertyuiop12",
            "Welcome12345!",
            "Summer2026!!",
            "adminadmin12",
            "1qaz2wsx3edc",
        ];
        for password in weak {
            assert!(refusal(password, "ada").is_some(), "{password}");
        }
        for good in ["correct horse battery", "correct horse battery staple", "chair lamp river tree fog", "browser-viewer", "kV7#pq2!mZx9"]
        {
            assert_eq!(refusal(good, "ada"), None, "{good}");
        }
    }

    #[test]
    fn eight_characters_that_count_are_enough_and_seven_are_not() {
        assert_eq!((counts("passwordkxbqmz"), refusal("passwordkxbqmz", "ada").is_some()), (7, true));
        assert_eq!((counts("passwordkxbqmzv"), refusal("passwordkxbqmzv", "ada")), (8, None));
        assert_eq!((counts("passwordkxbqmzvt"), refusal("passwordkxbqmzvt", "ada")), (9, None));
    }

    #[test]
    fn the_own_name_is_no_secret() {
        assert_eq!(refusal("kxbqmzvtwjhp", "ada"), None);
        assert!(refusal("Kxbqmzvtwjhp", "kxbqmzvtwjhp").unwrap().starts_with("is too easy to guess"));
        assert!(refusal("kxbqmzvtw.jh", "kxbqmzvtw").is_some() && refusal("kxbqmzvtw.jh", "").is_none());
    }

    proptest! {
        /// What is random is taken: the rules are about what people choose. Nothing is counted twice.
        #[test]
        fn random_passwords_are_taken(password in "[a-zA-Z0-9]{16,64}", other in any::<String>()) {
            prop_assert_eq!(refusal(&password, "ada"), None);
            let text: Vec<char> = other.to_lowercase().chars().collect();
            prop_assert!(counted(&text, &["ada"]) <= text.len());
        }
    }
}
