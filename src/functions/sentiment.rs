//! `sentiment(text)` and `sentiment_label(text)`: the mood of English texts, by VADER.
//!
//! Invariant: a text that is not English has no mood: NULL, never the middle of the scale.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, Float64Array, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use vader_parity::SentimentIntensityAnalyzer;

use super::language::is_english;

/// From this on, up and down, a text has a mood; so the authors of VADER.
const LABEL_MIN: f64 = 0.05;

/// The lexicon, read once.
static ANALYZER: LazyLock<SentimentIntensityAnalyzer> =
    LazyLock::new(SentimentIntensityAnalyzer::new);

/// Both of them.
pub(super) fn sentiments() -> [Arc<ScalarUDF>; 2] {
    [false, true].map(|is_label| {
        Arc::new(ScalarUDF::from(Sentiment {
            is_label,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sentiment {
    is_label: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Sentiment {
    fn name(&self) -> &str {
        if self.is_label {
            "sentiment_label"
        } else {
            "sentiment"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [text] if text.is_string() || text.is_null() => Ok(vec![DataType::Utf8View]),
            _ => plan_err!("Write {}(text): a text", self.name()),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(if self.is_label {
            DataType::Utf8View
        } else {
            DataType::Float64
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = arguments.args[0].to_array(arguments.number_rows)?;
        let texts = cast(&texts, &DataType::Utf8View)?;
        let moods = texts.as_string_view().iter().map(|text| compound(text?));
        let values: ArrayRef = if self.is_label {
            let labels = moods.map(|compound| compound.map(label));
            Arc::new(labels.collect::<StringViewArray>())
        } else {
            let scores = moods.map(|compound| compound.map(score));
            Arc::new(scores.collect::<Float64Array>())
        };
        Ok(ColumnarValue::Array(values))
    }
}

/// VADER's sum of a text's moods, from -1 to 1; `None` if the text is not English.
fn compound(text: &str) -> Option<f64> {
    let of = |text: &str| ANALYZER.polarity_scores(text).compound;
    is_english(text, |word| of(word) != 0.0).then(|| of(text))
}

fn score(compound: f64) -> f64 {
    f64::midpoint(compound, 1.0)
}

fn label(compound: f64) -> &'static str {
    if compound >= LABEL_MIN {
        "positive"
    } else if compound <= -LABEL_MIN {
        "negative"
    } else {
        "neutral"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From worse to better, each worse than those of the next line.
    const BY_MOOD: [&[&str]; 5] = [
        &[
            "Worst checkout ever, I hate it, this is a horrible disaster!!!",
            "Awful, terrible, useless: I hate this broken app",
            "I am furious and disgusted, what a terrible scam!",
            "HORRIBLE support, the worst and most stupid I have ever seen!",
            "This is a catastrophe, I lost everything and I am very angry",
            "Terrible. Awful. Disgusting. Never again.",
        ],
        &[
            "The dashboard is terrible since the last update",
            "I hate how slow the search is",
            "Worst export ever, I want my money back",
            "Very disappointed with the login",
            "Awful login, it never works when I need it",
            "Your billing page is broken and nobody answers, sad",
            "not good at all",
            "The app is bad",
            "I don't like the new colours",
        ],
        &[
            "How do I change the dashboard?",
            "Where can I find the order history?",
            "I use the export on Mondays",
            "The billing page moved",
            "Is the mobile version available in Canada?",
            "I opened a ticket about the search",
            "I compared the export with the old one",
            "",
        ],
        &[
            "The search is nice",
            "not bad at all",
            "I like the new colours",
            "Your search is good",
            "Wow, the app got really fast",
            "Thanks, this is useful",
            "The dashboard is fantastic now",
            "It works well, thank you",
        ],
        &[
            "I love the new search, it is absolutely wonderful!",
            "Best support ever, thank you so much, I love it!!",
            "Great work, brilliant and beautiful, I am so happy!",
            "Excellent! Amazing! Perfect!",
            "So happy with this awesome app, I love it :)",
            "Fantastic, superb and friendly support, the best I have ever had!",
            "\u{1F60D} I love it, great job, thank you \u{1F44D}",
        ],
    ];

    #[test]
    fn better_texts_have_greater_scores() {
        for (worse, better) in BY_MOOD.iter().zip(&BY_MOOD[1..]) {
            for (worse, better) in worse
                .iter()
                .flat_map(|one| better.iter().map(move |two| (one, two)))
            {
                let (low, high) = (compound(worse).unwrap(), compound(better).unwrap());
                assert!(low < high, "{low} {worse}\n{high} {better}");
            }
        }
    }

    #[test]
    fn a_label_says_on_which_side_the_score_is() {
        for (texts, expected) in BY_MOOD
            .iter()
            .zip(["negative", "negative", "neutral", "positive", "positive"])
        {
            for text in *texts {
                assert_eq!(label(compound(text).unwrap()), expected, "{text}");
            }
        }
        assert_eq!(
            [-0.05, -0.0499, 0.0499, 0.05].map(label),
            ["negative", "neutral", "neutral", "positive"]
        );
    }

    #[test]
    fn texts_of_other_languages_have_no_mood() {
        let texts = [
            // Czech, Dutch, French, German, Italian, Polish, Portuguese, Spanish, Swedish, Turkish.
            [
                "Velmi spokojen s nakupem",
                "Nic nefunguje",
                "Dobr\u{e1} aplikace",
            ],
            [
                "Ik ben zeer tevreden",
                "Snel geleverd, top",
                "Heel erg slecht",
            ],
            [
                "Excellent service, merci",
                "Vraiment horrible",
                "C'est super",
            ],
            [
                "Das ist super",
                "Leider funktioniert nichts mehr",
                "Die App ist toll",
            ],
            [
                "Un servizio eccellente, lo consiglio",
                "Super contento!",
                "Che disastro totale",
            ],
            [
                "To jest okropne",
                "Super aplikacja, polecam",
                "Bardzo dobry produkt",
            ],
            [
                "Que horror",
                "Um desastre completo",
                "Excelente atendimento",
            ],
            [
                "Todo perfecto, gracias",
                "Horrible experiencia",
                "No me gusta nada",
            ],
            [
                "Mycket bra tj\u{e4}nst",
                "Jag hatar den nya appen",
                "Appen kraschar hela tiden",
            ],
            [
                "Harika bir uygulama",
                "Berbat hizmet",
                "\u{c7}ok k\u{f6}t\u{fc}",
            ],
        ];
        for text in texts.iter().flatten() {
            assert_eq!(compound(text), None, "{text}");
        }
        for text in [
            "Excellent service",
            "Horrible experience",
            "This app is super, no problem",
            "Totally perfect",
        ] {
            assert!(compound(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_score_is_a_share() {
        assert_eq!([-1.0, 0.0, 0.5, 1.0].map(score), [0.0, 0.5, 0.75, 1.0]);
        assert_eq!(compound("Die neue Suche ist wunderbar"), None);
    }
}
