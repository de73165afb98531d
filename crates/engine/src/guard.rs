//! What a statement's text may be, before anything is planned.
//!
//! A stack that overflows ends the process and can't be caught, so depth is counted on the tokens,
//! before the parser builds a tree of that depth.

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Query, SetExpr, Statement as SqlStatement, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::limits::{
    CHAINED_OPERATORS, CUBE_COLUMNS, IN_LIST_ITEMS, NESTED_OPERATORS, NESTING, RELATIONS,
    SELECTED_COLUMNS, SQL_BYTES,
};
use crate::{Error, ErrorKind, Result};

/// The one query that the text holds.
///
/// # Errors
/// `InvalidInput` for text that is no single statement or breaks a limit, `Denied` for a statement
/// that does anything but read, `Unsupported` for clauses that would be ignored.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    if sql.len() > SQL_BYTES {
        return Err(Error::invalid(format!(
            "the statement has {} bytes, {SQL_BYTES} are allowed: load long lists as a table",
            sql.len()
        )));
    }
    let tokens = tokens(sql)?;
    let mut parser = DFParserBuilder::new(tokens)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(NESTING)
        .build()
        .map_err(|error| Error::while_planning(&error))?;
    let mut statements = parser.parse_statements().map_err(|error| syntax(&error))?;
    let statement = statements
        .pop_front()
        .ok_or_else(|| Error::invalid("there is no statement"))?;
    if !statements.is_empty() {
        return Err(Error::invalid(
            "one statement at a time: send each in a request of its own",
        ));
    }
    check(&statement)?;
    Ok(statement)
}

fn syntax(error: &datafusion::common::DataFusionError) -> Error {
    let error = Error::while_planning(error);
    if error.to_string().contains("recursion limit exceeded") {
        return Error::invalid(format!(
            "the statement is nested more than {NESTING} levels deep"
        ));
    }
    error
}

/// The tokens of a text whose tree is not too deep.
fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>> {
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
            Token::Word(word) if joins(word.keyword) => self.operator()?,
            Token::Word(_) | Token::Period | Token::Number(..) => {}
            token if is_text(token) => {}
            _ if self.after_operand => self.operator()?,
            // A sign before an operand; the parser counts how often it is repeated.
            _ => {}
        }
        self.after_in = matches!(token, Token::Word(word) if word.keyword == Keyword::IN);
        self.after_operand = match token {
            Token::Word(word) => !joins(word.keyword),
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
            | Keyword::JOIN
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
            | Keyword::MINUS
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

fn check(statement: &Statement) -> Result<()> {
    let query = match statement {
        Statement::Statement(statement) => statement.as_ref(),
        Statement::Explain(explain) => match explain.statement.as_ref() {
            Statement::Statement(statement) => statement.as_ref(),
            _ => return Err(denied("this statement")),
        },
        Statement::CreateExternalTable(_) => return Err(denied("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => return Err(denied("COPY")),
        Statement::Reset(_) => return Err(denied("RESET")),
    };
    if !matches!(query, SqlStatement::Query(_)) {
        let text = query.to_string();
        let verb = text.split_whitespace().next().unwrap_or("this statement");
        return Err(denied(verb));
    }
    let mut shape = Shape::default();
    match query.visit(&mut shape) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The query in a statement that has passed [`parse`].
pub(crate) fn query_of(statement: &mut Statement) -> Option<&mut SqlStatement> {
    match statement {
        Statement::Statement(statement) => Some(statement.as_mut()),
        Statement::Explain(explain) => match explain.statement.as_mut() {
            Statement::Statement(statement) => Some(statement.as_mut()),
            _ => None,
        },
        _ => None,
    }
}

fn denied(what: &str) -> Error {
    Error::new(
        ErrorKind::Denied,
        format!(
            "{} is not allowed: a query only reads (SELECT, WITH, VALUES, EXPLAIN)",
            what.to_uppercase()
        ),
    )
}

/// Walks a query for what may not be in it, at any depth.
#[derive(Default)]
struct Shape {
    statements: usize,
    /// The queries around the current place, the innermost last.
    queries: Vec<Scope>,
}

/// One query: the planner puts a common table's plan wherever its name stands, so names that refer to
/// names that refer to names grow without bound out of a short text.
#[derive(Default)]
struct Scope {
    /// Its common tables, in order.
    names: Vec<String>,
    /// How many relations each of those visited so far stands for.
    sizes: Vec<usize>,
    /// Relations of the query itself, each common table at its size.
    relations: usize,
}

impl Shape {
    /// How many relations a name stands for: the innermost common table's, or one.
    fn size(&self, name: &str) -> usize {
        let named = |scope: &Scope| {
            let place = scope.names.iter().position(|known| known == name)?;
            scope.sizes.get(place).copied()
        };
        self.queries.iter().rev().find_map(named).unwrap_or(1)
    }

    /// Counts relations of the innermost query.
    fn add(&mut self, size: usize) -> ControlFlow<Error> {
        let Some(query) = self.queries.last_mut() else {
            return ControlFlow::Continue(());
        };
        query.relations = query.relations.saturating_add(size);
        if query.relations <= RELATIONS {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Error::invalid(format!(
            "the statement reads more than {RELATIONS} tables, common tables counted wherever they are named"
        )))
    }
}

impl Visitor for Shape {
    type Break = Error;

    /// `WITH … INSERT` is a query that holds a statement.
    fn pre_visit_statement(&mut self, statement: &SqlStatement) -> ControlFlow<Error> {
        self.statements += 1;
        if self.statements > 1 {
            let text = statement.to_string();
            return ControlFlow::Break(denied(text.split_whitespace().next().unwrap_or_default()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = tables
            .map(|table| table.alias.name.value.to_lowercase())
            .collect();
        self.queries.push(Scope {
            names,
            ..Scope::default()
        });
        check_arms(&query.body)
    }

    /// Common tables are visited before the query's own body, in their order.
    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        let size = self.queries.pop().map_or(0, |scope| scope.relations);
        match self.queries.last_mut() {
            Some(outer) if outer.sizes.len() < outer.names.len() => {
                outer.sizes.push(size.max(1));
                ControlFlow::Continue(())
            }
            _ => self.add(size),
        }
    }

    /// In DataFusion 55 these panic without an argument.
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        if let Expr::Cube(columns) = expr
            && columns.len() > CUBE_COLUMNS
        {
            return ControlFlow::Break(Error::invalid(format!(
                "a CUBE of more than {CUBE_COLUMNS} columns: each one doubles the groups"
            )));
        }
        let Expr::Function(function) = expr else {
            return ControlFlow::Continue(());
        };
        let has_arguments = match &function.args {
            FunctionArguments::None => false,
            FunctionArguments::Subquery(_) => true,
            FunctionArguments::List(list) => !list.args.is_empty(),
        };
        let name = function.name.to_string().to_lowercase();
        if !has_arguments && ["first_value", "last_value", "nth_value"].contains(&name.as_str()) {
            return ControlFlow::Break(Error::invalid(format!("{name} needs an argument")));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, relation: &TableFactor) -> ControlFlow<Error> {
        let size = match relation {
            TableFactor::Table { name, .. } => self.size(&name.to_string().to_lowercase()),
            // Its own relations are counted.
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => 0,
            _ => 1,
        };
        self.add(size)?;
        match relation {
            // The planner would ignore both and give all rows.
            TableFactor::Table {
                sample: Some(_), ..
            } => ControlFlow::Break(Error::new(
                ErrorKind::Unsupported,
                "TABLESAMPLE is not supported",
            )),
            TableFactor::Table {
                version: Some(_), ..
            } => ControlFlow::Break(Error::new(
                ErrorKind::Unsupported,
                "AS OF behind a table's name is not supported",
            )),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn check_arms(body: &SetExpr) -> ControlFlow<Error> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            check_arms(left)?;
            check_arms(right)
        }
        SetExpr::Select(select) if select.into.is_some() => {
            ControlFlow::Break(denied("SELECT INTO"))
        }
        SetExpr::Select(select) if select.projection.len() > SELECTED_COLUMNS => {
            ControlFlow::Break(Error::invalid(format!(
                "a SELECT list of more than {SELECTED_COLUMNS} expressions"
            )))
        }
        _ => ControlFlow::Continue(()),
    }
}

#[cfg(test)]
mod tests;
