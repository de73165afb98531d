//! How deep a statement's tree will be, counted on its tokens before it is built.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::limits::{CHAINED_OPERATORS, IN_LIST_ITEMS, NESTED_OPERATORS, SET_OPERATORS};
use crate::{Error, Result};

/// The tokens of a text whose tree is not too deep.
pub(super) fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| Error::invalid(format!("syntax: {error}")))?;
    let mut depth = Depth::default();
    let written = tokens.iter().map(|token| &token.token);
    for token in written.filter(|token| !matches!(token, Token::Whitespace(_))) {
        depth.next(token)?;
    }
    Ok(tokens)
}

/// How deep the tree at the current token will be at least.
#[derive(Default)]
struct Depth {
    /// One level for each open parenthesis, the innermost last.
    levels: Vec<Level>,
    current: Level,
    /// Operators of `levels` together.
    around: usize,
    /// Whether the last token ended an operand, so that an operator after it joins two.
    after_operand: bool,
    after_in: bool,
    /// Of the whole statement.
    set_operators: usize,
}

#[derive(Default)]
struct Level {
    operators: usize,
    commas: usize,
    in_list: bool,
}

impl Depth {
    fn next(&mut self, token: &Token) -> Result<()> {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                if *token == Token::LBracket && self.after_operand {
                    self.operator()?;
                }
                let inner = Level {
                    in_list: self.after_in,
                    ..Level::default()
                };
                self.around += self.current.operators;
                self.levels
                    .push(std::mem::replace(&mut self.current, inner));
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                // A parenthesis too many is the parser's to tell.
                self.current = self.levels.pop().unwrap_or_default();
                self.around = self.around.saturating_sub(self.current.operators);
            }
            Token::Comma => self.comma()?,
            Token::SemiColon => self.current = Level::default(),
            Token::Word(word) if combines(word.keyword) => self.set_operator()?,
            Token::Word(word) if joins(word.keyword) => self.operator()?,
            Token::Word(_) | Token::Period | Token::Number(..) => {}
            token if is_text(token) => {}
            _ if self.after_operand => self.operator()?,
            // A sign before an operand; the parser counts how often it is repeated.
            _ => {}
        }
        self.after_in = matches!(token, Token::Word(word) if word.keyword == Keyword::IN);
        self.after_operand = match token {
            Token::Word(word) => !joins(word.keyword) && !combines(word.keyword),
            Token::Number(..) | Token::RParen | Token::RBracket | Token::RBrace => true,
            token => is_text(token),
        };
        Ok(())
    }

    fn operator(&mut self) -> Result<()> {
        self.current.operators += 1;
        let limit = if self.current.operators > CHAINED_OPERATORS {
            CHAINED_OPERATORS
        } else if self.around + self.current.operators > NESTED_OPERATORS {
            NESTED_OPERATORS
        } else {
            return Ok(());
        };
        Err(Error::invalid(format!(
            "a chain of more than {limit} operators: join with a table of the values instead"
        )))
    }

    fn set_operator(&mut self) -> Result<()> {
        self.set_operators += 1;
        if self.set_operators > SET_OPERATORS {
            return Err(Error::invalid(format!(
                "more than {SET_OPERATORS} UNION, INTERSECT and EXCEPT: use VALUES, or a table"
            )));
        }
        Ok(())
    }

    fn comma(&mut self) -> Result<()> {
        self.current.operators = 0;
        self.current.commas += 1;
        if self.current.in_list && self.current.commas >= IN_LIST_ITEMS {
            return Err(Error::invalid(format!(
                "an IN list of more than {IN_LIST_ITEMS} items: join with a table of the values instead"
            )));
        }
        Ok(())
    }
}

/// Keywords that join two queries. They stand beside the commas of SELECT lists, which end a chain of
/// operators but not one of queries.
fn combines(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS
    )
}

/// Keywords that put one more level on the tree of their clause.
fn joins(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::BETWEEN
            | Keyword::COLLATE
            | Keyword::DIV
            | Keyword::OVERLAPS
            | Keyword::AT
            | Keyword::NOTNULL
            | Keyword::ESCAPE
            | Keyword::JOIN
    )
}

fn is_text(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
    )
}
