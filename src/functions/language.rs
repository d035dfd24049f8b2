//! Whether a text is English, as far as short texts let it be told.
//!
//! Knows nothing of SQL. Invariant: the answer follows from the text alone; a text without letters (smileys, "5/5") is in
//! no language, and counts as English.

use whichlang::{Lang, detect_language};

/// Common English words that are hardly words of other languages, in order.
const COMMON: [&str; 123] = [
    "about", "after", "again", "all", "always", "and", "another", "any", "anything", "are", "back",
    "be", "because", "been", "before", "but", "buy", "by", "came", "can", "cannot", "could", "did",
    "do", "does", "don't", "done", "even", "every", "find", "first", "for", "from", "get", "go",
    "got", "had", "has", "have", "he", "her", "here", "his", "how", "i", "i'm", "if", "into", "is",
    "it", "it's", "its", "just", "keeps", "know", "last", "like", "look", "made", "make", "many",
    "money", "more", "most", "much", "my", "need", "never", "new", "not", "nothing", "now", "of",
    "old", "one", "only", "other", "our", "out", "over", "really", "see", "she", "should", "since",
    "so", "some", "still", "than", "that", "the", "their", "them", "then", "there", "they",
    "thing", "think", "this", "time", "to", "too", "up", "use", "very", "want", "way", "we",
    "were", "what", "when", "where", "which", "who", "why", "will", "with", "work", "working",
    "works", "would", "you", "your",
];

/// Common English words that are words of other languages too: they count where the letters are English.
const SHARED: [&str; 11] = [
    "a", "an", "as", "at", "down", "in", "me", "of", "or", "please", "us",
];

/// Common words of other languages that are hardly words of English, in order.
const FOREIGN: [&str; 169] = [
    "ale",
    "alles",
    "aplikacja",
    "aplikacji",
    "appen",
    "arbeitet",
    "avec",
    "bardzo",
    "bez",
    "bien",
    "bij",
    "bonjour",
    "bueno",
    "c'est",
    "cela",
    "che",
    "cher",
    "ci",
    "como",
    "cosa",
    "danke",
    "dans",
    "das",
    "dat",
    "de",
    "del",
    "della",
    "denna",
    "der",
    "det",
    "dette",
    "di",
    "dla",
    "dobra",
    "dobre",
    "dobry",
    "dramat",
    "du",
    "dziala",
    "dziekuje",
    "ein",
    "eine",
    "ele",
    "elle",
    "er",
    "est",
    "esta",
    "este",
    "et",
    "experiencia",
    "fatalna",
    "fatalny",
    "foarte",
    "foi",
    "fungerar",
    "geen",
    "geleverd",
    "gracias",
    "grazie",
    "gut",
    "het",
    "ich",
    "ik",
    "il",
    "ist",
    "jag",
    "jak",
    "je",
    "jeg",
    "jest",
    "jestem",
    "kann",
    "kein",
    "klienta",
    "koszonom",
    "las",
    "le",
    "les",
    "los",
    "maar",
    "mais",
    "meget",
    "mehr",
    "merci",
    "mi",
    "mir",
    "mnie",
    "muito",
    "muy",
    "nada",
    "nagyon",
    "nao",
    "nem",
    "nic",
    "nicht",
    "nie",
    "niet",
    "noch",
    "non",
    "nu",
    "obrigado",
    "och",
    "oder",
    "og",
    "okropne",
    "ou",
    "para",
    "parce",
    "pas",
    "pero",
    "piace",
    "polecam",
    "por",
    "porque",
    "pour",
    "produkt",
    "przez",
    "qu",
    "quando",
    "que",
    "quel",
    "quelle",
    "qui",
    "sehr",
    "sem",
    "servicio",
    "sich",
    "sie",
    "siempre",
    "sind",
    "sklep",
    "snel",
    "sono",
    "strona",
    "sur",
    "tak",
    "tego",
    "todo",
    "todos",
    "toujours",
    "tous",
    "tres",
    "trop",
    "troppo",
    "tudo",
    "tutto",
    "tylko",
    "uma",
    "un",
    "una",
    "und",
    "une",
    "uns",
    "veel",
    "velmi",
    "voor",
    "vous",
    "vraiment",
    "wat",
    "weer",
    "werkt",
    "wszystkim",
    "wszystko",
    "zeer",
    "zu",
    "zum",
    "ça",
    "è",
    "é",
];

/// Words with a mood in English that are everyday words of other languages.
const ELSEWHERE: [&str; 12] = [
    "brutal", "die", "fatal", "gift", "grave", "gross", "hell", "mad", "no", "super", "war", "woe",
];

/// Of so many words English by its letters one at least is known.
const WORDS_FOR_ONE_KNOWN: usize = 8;
/// Texts with fewer words are too short to tell by them that they are not English.
const WORDS_MIN: usize = 4;

/// Whether it is; `has_mood` tells of a word in lower case whether it has a mood in English.
///
/// A guess by the letters decides, unless the words speak against it: of an English text hardly one is known, or of
/// another at least a third are. Where as many words are common in other languages as are known, it is none. Links and
/// names (`@name`) tell nothing.
pub(super) fn is_english(text: &str, has_mood: impl Fn(&str) -> bool) -> bool {
    let is_name = |part: &&str| part.starts_with('@') || part.contains("://");
    let parts = text.split_whitespace().filter(|part| !is_name(part));
    let text = parts.collect::<Vec<_>>().join(" ");
    let letters = text.chars().filter(|letter| letter.is_alphabetic()).count();
    let latin = text.chars().filter(|letter| is_latin(*letter)).count();
    if letters == 0 || latin * 2 <= letters {
        return letters == 0;
    }
    let looks_english = detect_language(&text) == Lang::Eng;
    let words = words(&text);
    let is_known = |word: &&String| {
        let word = word.as_str();
        COMMON.binary_search(&word).is_ok()
            || (looks_english && SHARED.contains(&word))
            || (!ELSEWHERE.contains(&word) && has_mood(word))
    };
    let known = words.iter().filter(is_known).count();
    let is_foreign = |word: &&String| FOREIGN.binary_search(&word.as_str()).is_ok();
    let foreign = words.iter().filter(is_foreign).count();
    if foreign > 0 && foreign >= known {
        false
    } else if looks_english {
        words.len() < WORDS_MIN || known * WORDS_FOR_ONE_KNOWN >= words.len()
    } else {
        known * 3 >= words.len()
    }
}

/// In lower case.
fn words(text: &str) -> Vec<String> {
    let plain = text.replace('\u{2019}', "'");
    plain
        .split(|letter: char| !(letter.is_alphabetic() || letter == '\''))
        .map(|word| word.trim_matches('\'').to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// A letter of the Latin alphabet, also one with a mark.
fn is_latin(letter: char) -> bool {
    letter.is_alphabetic() && matches!(letter, '\0'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], expected: bool) {
        let moods = ["great", "hate", "broken", "die", "war", "super", "crashes"];
        for text in texts {
            let english = is_english(text, |word| moods.contains(&word));
            assert_eq!(english, expected, "{text}");
        }
    }

    #[test]
    fn the_common_words_are_in_order() {
        assert!(COMMON.is_sorted());
        assert!(FOREIGN.is_sorted());
        let both = FOREIGN.iter().find(|word| COMMON.contains(word));
        assert_eq!(both, None, "a word is English, or it is not");
    }

    #[test]
    fn english_texts_are_known_also_short_ones() {
        check(
            &[
                "great!",
                "Great",
                "not great",
                "Works",
                "ok",
                "super slow",
                "Five stars",
                "Export crashes",
                "App keeps crashing",
                "password reset email not received",
                "Where can I find the order history?",
                "I don\u{2019}t know",
                "@somebody https://example.com/die-neue-suche great",
            ],
            true,
        );
    }

    #[test]
    fn texts_without_letters_are_in_no_language() {
        check(&["", " ", ":-)", "5/5", "\u{1F642}", "@somebody"], true);
    }

    #[test]
    fn other_languages_are_not_english() {
        check(
            &[
                "Die neue Suche ist wunderbar, vielen Dank",
                "Sehr gut!",
                "die war gut",
                "C'est super, merci beaucoup",
                "Le nouveau moteur de recherche est nul",
                "No funciona nada, qu\u{e9} desastre",
                "Muito obrigado, adorei o servi\u{e7}o",
                "Non funziona niente, che delusione",
                "Het werkt helemaal niet meer",
                "Det fungerar inte alls",
                "Bu uygulama \u{e7}ok k\u{f6}t\u{fc}",
                "Aplikacja nie dzia\u{142}a, jestem z\u{142}y",
                "Uusi haku on loistava",
                "\u{423}\u{436}\u{430}\u{441}\u{43d}\u{43e}\u{435} \u{43f}\u{440}\u{438}\u{43b}\u{43e}\u{436}\u{435}\u{43d}\u{438}\u{435}",
                "\u{3053}\u{306e}\u{691c}\u{7d22}\u{306f}\u{6700}\u{9ad8}\u{3067}\u{3059}",
                "\u{c815}\u{b9d0} \u{c88b}\u{c544}\u{c694}",
            ],
            false,
        );
    }
}
