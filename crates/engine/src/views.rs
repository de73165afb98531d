//! Stored views: a name that stands for a query.
//!
//! A view is planned where a statement names it, over the statement's own snapshots and at its days, and
//! its plan takes the name's place. So a view shows what its tables show, whenever it is asked.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::LogicalPlan;
use didymium_store::ViewDefinition;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::conform::conformed_schema;
use crate::engine::Scope;
use crate::limits::{PLANNED_RELATIONS, VIEW_LEVELS};
use crate::{Engine, Error, ErrorKind, Grants, Parameters, QueryRequest, Result, guard, relations};

/// A view and what it gives.
#[derive(Debug, Clone)]
pub struct DescribedView {
    /// Its definition.
    pub definition: ViewDefinition,
    /// Its columns; `None` where its query can't be planned any more, because a table is gone.
    pub schema: Option<SchemaRef>,
}

impl Engine {
    /// Checks a view's query by planning it, and keeps the view.
    ///
    /// # Errors
    /// What the query's own run would say; `AlreadyExists` where the name is taken.
    pub async fn create_view(
        self: &Arc<Self>,
        definition: ViewDefinition,
        replace: bool,
        grants: &Grants,
    ) -> Result<DescribedView> {
        if relations::is_relation(&definition.name) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("{} is a relation of Didymium's own", definition.name),
            ));
        }
        let (engine, view) = (Arc::clone(self), definition.clone());
        let request = request_of(grants);
        let table = self.run_on_threads(async move {
            let mut scope = Scope::of(&engine, &request)?;
            engine.view_table(view, &mut scope).await
        });
        let schema = Some(conformed_schema(&table.await?.schema()));
        self.store().create_view(&definition, replace).await?;
        Ok(DescribedView { definition, schema })
    }

    /// A stored view with its columns.
    ///
    /// # Errors
    /// `Corrupt` for a damaged definition, `Unavailable` where the storage fails.
    pub async fn view(
        self: &Arc<Self>,
        name: &str,
        grants: &Grants,
    ) -> Result<Option<DescribedView>> {
        if !grants.allows(name) {
            return Ok(None);
        }
        let Some(definition) = self.store().view(name).await? else {
            return Ok(None);
        };
        let engine = Arc::clone(self);
        let request = request_of(grants);
        let described = self.run_on_threads(async move {
            let mut scope = Scope::of(&engine, &request)?;
            Ok(engine.described(definition, &mut scope).await)
        });
        described.await.map(Some)
    }

    /// Every view, for a list; a damaged one is left out.
    pub(crate) async fn views(&self, scope: &mut Scope) -> Result<Arc<Vec<DescribedView>>> {
        if let Some(described) = &scope.described {
            return Ok(Arc::clone(described));
        }
        // Views that list views would describe them all again, at every level.
        scope.described = Some(Arc::default());
        let mut views = Vec::new();
        for name in self.store().view_names().await? {
            if !scope.grants.allows(&name) {
                continue;
            }
            match self.store().view(&name).await {
                Ok(Some(view)) => views.push(self.described(view, scope).await),
                Ok(None) => {}
                Err(error) => tracing::warn!(view = name, %error, "left out of a list"),
            }
        }
        let views = Arc::new(views);
        scope.described = Some(Arc::clone(&views));
        Ok(views)
    }

    async fn described(&self, definition: ViewDefinition, scope: &mut Scope) -> DescribedView {
        let table = self.view_table(definition.clone(), scope).await;
        DescribedView {
            definition,
            schema: table.ok().map(|table| conformed_schema(&table.schema())),
        }
    }

    /// A view as a table that the planner replaces by the view's plan.
    pub(crate) fn view_table<'a>(
        &'a self,
        view: ViewDefinition,
        scope: &'a mut Scope,
    ) -> BoxFuture<'a, Result<Arc<dyn TableProvider>>> {
        async move {
            let name = view.name.clone();
            if scope.within.contains(&name) {
                return Err(Error::invalid(format!(
                    "the view {name} reads itself, by way of {}",
                    scope.within.join(", ")
                )));
            }
            if scope.within.len() >= VIEW_LEVELS {
                return Err(Error::invalid(format!(
                    "the view {name} stands below more than {VIEW_LEVELS} views that read one another"
                )));
            }
            scope.within.push(name.clone());
            let plan = self.view_plan(&view.sql, scope).await;
            scope.within.pop();
            let plan = plan.map_err(|error| error.within(&format!("view {name}")))?;
            Ok(Arc::new(ViewTable::new(plan, Some(view.sql))) as Arc<dyn TableProvider>)
        }
        .boxed()
    }

    async fn view_plan(&self, sql: &str, scope: &mut Scope) -> Result<LogicalPlan> {
        let mut statement = guard::parse(sql)?;
        let state = self
            .session(&mut statement, Some(&Parameters::default()), scope)
            .await?;
        let plan = state.statement_to_plan(statement).await;
        let plan = plan.map_err(|error| Error::while_planning(&error))?;
        if matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)) {
            return Err(Error::invalid("EXPLAIN is no query with rows to build on"));
        }
        refuse_large(&plan)?;
        Ok(plan)
    }
}

/// What a caller with these grants asks of a view: its rights are the asker's, not its maker's.
fn request_of(grants: &Grants) -> QueryRequest {
    QueryRequest {
        grants: grants.clone(),
        ..QueryRequest::default()
    }
}

/// Views that read views that read views grow without bound out of short texts.
pub(crate) fn refuse_large(plan: &LogicalPlan) -> Result<()> {
    let mut leaves = 0;
    let counted = plan.apply(|node| {
        leaves += usize::from(node.inputs().is_empty());
        Ok(match leaves > PLANNED_RELATIONS {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    counted?;
    match leaves > PLANNED_RELATIONS {
        false => Ok(()),
        true => Err(Error::invalid(format!(
            "with the views that it names the statement reads more than {PLANNED_RELATIONS} tables"
        ))),
    }
}
