//! The reader for statements of our own: a parser over one statement's tokens, with our errors.

use sqlparser::ast::{self, Ident};
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::query::{self, Source};
use super::statement::{Identifier, Name, StreamQuery};
use super::{syntax, tokens};
use crate::error::{Error, Position, Result, SqlState};

/// Reads one statement from its start to its end.
pub(super) struct Grammar<'a> {
    dialect: &'a dyn Dialect,
    parser: Parser<'a>,
    /// The statement's text.
    pub(super) source: Source<'a>,
}

impl<'a> Grammar<'a> {
    /// Over a statement's tokens; `all` has no end token.
    pub(super) fn new(
        dialect: &'a dyn Dialect,
        mut all: Vec<TokenWithSpan>,
        source: Source<'a>,
    ) -> Self {
        all.push(query::end_token(source.end));
        let parser = Parser::new(dialect).with_tokens_with_locations(all);
        Self {
            dialect,
            parser,
            source,
        }
    }

    /// The next token.
    pub(super) fn peek(&self) -> &TokenWithSpan {
        self.parser.peek_token_ref()
    }

    /// The token `n` after the next.
    pub(super) fn peek_nth(&self, n: usize) -> &TokenWithSpan {
        self.parser.peek_nth_token_ref(n)
    }

    /// Where the next token stands.
    pub(super) fn position(&self) -> Position {
        tokens::position(self.peek())
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    /// True if these words come next.
    pub(super) fn at(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(n, word)| tokens::is_word(&self.peek_nth(n).token, word))
    }

    /// Takes these words if they come next.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.at(words);
        if found {
            for _ in words {
                self.parser.advance_token();
            }
        }
        found
    }

    /// The first of `words` that comes next, taken.
    pub(super) fn eat_one<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let found = words.iter().find(|word| self.at(&[**word]))?;
        self.parser.advance_token();
        Some(found)
    }

    /// Takes these words.
    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        if self.eat(words) {
            Ok(())
        } else {
            self.expected(&words.join(" "))
        }
    }

    /// Takes a sign if it comes next.
    pub(super) fn eat_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// Takes a sign.
    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.eat_token(token) {
            Ok(())
        } else {
            self.expected(&format!("\"{token}\""))
        }
    }

    /// The text from a place to the end of the token that was taken last.
    pub(super) fn text_since(&self, from: Position) -> &'a str {
        let Source { text, start, .. } = self.source;
        let last = tokens::place(self.parser.get_current_token().span.end);
        &text[tokens::offset(text, start, from)..tokens::offset(text, start, last)]
    }

    /// True at the statement's end.
    pub(super) fn at_end(&self) -> bool {
        self.peek().token == Token::EOF
    }

    /// A syntax error unless the statement ends here.
    pub(super) fn finish(&self) -> Result<()> {
        if self.at_end() {
            Ok(())
        } else {
            self.expected("the end of the statement")
        }
    }

    /// A syntax error at the next token.
    pub(super) fn expected<T>(&self, what: &str) -> Result<T> {
        syntax::expected(what, self.peek())
    }

    /// Runs a part of the parser library's grammar.
    pub(super) fn library<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'a>) -> std::result::Result<T, ParserError>,
    ) -> Result<T> {
        parse(&mut self.parser).map_err(|error| {
            let stopped = self.parser.index();
            let parser = std::mem::replace(&mut self.parser, Parser::new(self.dialect));
            syntax::translate(&error, &parser.into_tokens(), stopped)
        })
    }

    /// An expression.
    pub(super) fn expr(&mut self) -> Result<ast::Expr> {
        self.library(Parser::parse_expr)
    }

    /// A name, folded unless quoted.
    pub(super) fn identifier(&mut self) -> Result<Identifier> {
        if !matches!(self.peek().token, Token::Word(_)) {
            return self.expected("a name");
        }
        let position = self.position();
        let ident = self.library(Parser::parse_identifier)?;
        Ok(Identifier {
            name: folded(&ident),
            position,
        })
    }

    /// A name with its schema, if it has one.
    pub(super) fn name(&mut self) -> Result<Name> {
        let position = self.position();
        let mut parts = vec![self.identifier()?.name];
        while self.eat_token(&Token::Period) {
            parts.push(self.identifier()?.name);
        }
        let name = parts.pop().expect("there is at least one part");
        let schema = parts.pop();
        if let Some(catalog) = parts.pop().filter(|catalog| catalog != "headwater") {
            return Err(Error::user(
                SqlState::FeatureNotSupported,
                format!("reference to another database: \"{catalog}\""),
            )
            .at(Some(position)));
        }
        let schema = schema.filter(|schema| schema != "public");
        Ok(Name {
            schema,
            name,
            position,
        })
    }

    /// The name of something to be made or dropped: it is in the schema `public`.
    pub(super) fn own_name(&mut self) -> Result<Name> {
        let name = self.name()?;
        match &name.schema {
            None => Ok(name),
            Some(schema) => Err(Error::user(
                SqlState::UndefinedSchema,
                format!("nothing can be made or dropped in schema \"{schema}\""),
            )
            .hint("Tables, views and sinks live in schema public; leave the schema out.")
            .at(Some(name.position))),
        }
    }

    /// Names in parentheses.
    pub(super) fn identifiers(&mut self) -> Result<Vec<Identifier>> {
        self.expect_token(&Token::LParen)?;
        let names = self.list(Self::identifier)?;
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    /// One or more, between commas.
    pub(super) fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut found = vec![item(self)?];
        while self.eat_token(&Token::Comma) {
            found.push(item(self)?);
        }
        Ok(found)
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<String> {
        match string_value(&self.peek().token) {
            Some(text) => {
                self.next();
                Ok(text)
            }
            None => self.expected("a string in single quotes"),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn count(&mut self) -> Result<u64> {
        match &self.peek().token {
            Token::Number(digits, _) => match digits.parse() {
                Ok(count) => {
                    self.next();
                    Ok(count)
                }
                Err(_) => self.expected("a whole number"),
            },
            _ => self.expected("a whole number"),
        }
    }

    /// `IF NOT EXISTS`.
    pub(super) fn if_not_exists(&mut self) -> bool {
        self.eat(&["IF", "NOT", "EXISTS"])
    }

    /// The tokens that are left, without the end.
    pub(super) fn rest(self) -> Vec<TokenWithSpan> {
        let at = self.parser.index();
        let mut all = self.parser.into_tokens();
        all.pop();
        all.split_off(at.min(all.len()))
    }

    /// The rest of the statement as a query.
    pub(super) fn query(self) -> Result<StreamQuery> {
        let source = self.source;
        query::parse(self.rest(), source)
    }
}

/// A string token's text.
pub(super) fn string_value(token: &Token) -> Option<String> {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::NationalStringLiteral(text) => Some(text.clone()),
        Token::DollarQuotedString(text) => Some(text.value.clone()),
        _ => None,
    }
}

/// A name as the catalog knows it.
pub fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.clone(),
    }
}
