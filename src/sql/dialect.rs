//! PostgreSQL's dialect for the parser library, without what makes parsing explode.
//!
//! The library's own [`PostgreSqlDialect`] reads every function argument twice, so that nested
//! calls cost two to the power of their depth. This one is the same dialect with three changes:
//! an argument's name is a word, the number of steps is bounded, and long chains of `AND` and `OR`
//! become balanced trees. Invariant: what it does not mention is PostgreSQL's.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The dialect for one statement.
#[derive(Debug)]
pub(super) struct StatementDialect {
    base: PostgreSqlDialect,
    /// How many expressions may still be begun. A parse that needs more is going in circles.
    steps_left: Cell<usize>,
    /// True if some chain of `AND` or `OR` is too long for a tree that leans to one side.
    long_chains: bool,
}

impl StatementDialect {
    /// For a statement with this many tokens.
    pub(super) fn new(tokens: usize, long_chains: bool) -> Self {
        Self {
            base: PostgreSqlDialect {},
            steps_left: Cell::new(tokens.saturating_mul(20).saturating_add(10_000)),
            long_chains,
        }
    }
}

/// Hands methods on to PostgreSQL's dialect.
macro_rules! as_postgresql {
    ($($method:ident),* $(,)?) => {
        $(fn $method(&self) -> bool { self.base.$method() })*
    };
}

impl Dialect for StatementDialect {
    fn dialect(&self) -> TypeId {
        // The parser asks "is this PostgreSQL?" in many places.
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, _parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        match self.steps_left.get().checked_sub(1) {
            Some(left) => {
                self.steps_left.set(left);
                None
            }
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if !self.long_chains {
            return None;
        }
        let (keyword, operator) = match &parser.peek_token_ref().token {
            Token::Word(word) if word.keyword == Keyword::AND => {
                (Keyword::AND, BinaryOperator::And)
            }
            Token::Word(word) if word.keyword == Keyword::OR => (Keyword::OR, BinaryOperator::Or),
            _ => return None,
        };
        let mut operands = vec![expr.clone()];
        while parser.parse_keyword(keyword) {
            match parser.parse_subexpr(precedence) {
                Ok(operand) => operands.push(operand),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(balanced(operands, &operator)))
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.base.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.base.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.base.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.base.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.base.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.base.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        self.base.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.base.prec_value(precedence)
    }

    as_postgresql!(
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_alter_column_type_using,
        supports_array_typedef_with_brackets,
        supports_bitwise_shift_operators,
        supports_comma_separated_trim,
        supports_comment_on,
        supports_comment_optimizer_hint,
        supports_create_index_with_clause,
        supports_create_table_like_parenthesized,
        supports_empty_projections,
        supports_explain_with_utility_options,
        supports_factorial_operator,
        supports_filter_during_aggregation,
        supports_geometric_types,
        supports_group_by_expr,
        supports_insert_table_alias,
        supports_interval_options,
        supports_listen_notify,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_nested_comments,
        supports_notnull_operator,
        supports_numeric_literal_underscores,
        supports_select_wildcard_with_alias,
        supports_set_names,
        supports_string_escape_constant,
        supports_unicode_string_literal,
        supports_xml_expressions,
    );
}

/// A tree over operands in their order, as deep as the logarithm of their number.
fn balanced(mut operands: Vec<Expr>, operator: &BinaryOperator) -> Expr {
    while operands.len() > 1 {
        let mut halved = Vec::with_capacity(operands.len().div_ceil(2));
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            halved.push(match rest.next() {
                Some(right) => Expr::BinaryOp {
                    left: Box::new(left),
                    op: operator.clone(),
                    right: Box::new(right),
                },
                None => left,
            });
        }
        operands = halved;
    }
    operands.pop().expect("a chain has operands")
}
