//! The one place where a DataFusion session is built.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use datafusion_tracing::{InstrumentationOptions, instrument_with_info_spans};
use didymium_store::Store;
use tracing::Level;

use crate::checked_sum::checked_sum;
use crate::objects::StoreOnly;
use crate::operators::Guard;
use crate::planner::Planner;
use crate::portions::{Portions, Projections};
use crate::share::Share;
use crate::system::SYSTEM;
use crate::yielding::Yielding;
use crate::{Limits, bounded};

/// The catalog and schema of tables that a statement names without either.
pub(crate) const CATALOG: &str = "didymium";
pub(crate) const SCHEMA: &str = "main";

/// What the spans of calls, queries and operators are called in filters. Nobody pays for them unless
/// somebody takes them.
pub const TRACE: &str = "didymium::trace";

/// Bytes of Parquet footers that are kept: data files never change under their names.
const FOOTER_CACHE_BYTES: usize = 256 * 1024 * 1024;

/// How many consumers an out-of-memory message names.
const NAMED_CONSUMERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).expect("3 is not 0");

/// What all queries share: the memory pool, the spill folder, the store's files.
pub(crate) fn runtime(store: &Store, limits: &Limits) -> Result<Arc<RuntimeEnv>> {
    let pool = TrackConsumersPool::new(FairSpillPool::new(limits.memory_bytes), NAMED_CONSUMERS);
    let spill = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::OsTmpDirectory)
        .with_max_temp_directory_size(limits.spill_bytes);
    let caches = CacheManagerConfig::default()
        .with_metadata_cache_limit(FOOTER_CACHE_BYTES)
        .with_list_files_cache_limit(0);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(spill)
        .with_cache_manager(caches)
        .with_object_store_registry(Arc::new(StoreOnly(store.objects())))
        .build_arc()
}

/// A session without tables: the functions and the configuration that every statement gets.
pub(crate) fn base_state(runtime: Arc<RuntimeEnv>, limits: &Limits) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(limits.threads)
        .with_batch_size(limits.batch_rows)
        // Sorted files stay sorted through a repartition.
        .with_prefer_existing_sort(true);
    let options = config.options_mut();
    // A table that comes cut between its series is as good as hashed by them, and in order.
    options.optimizer.subset_repartition_threshold = 2;
    options.optimizer.preserve_file_partitions = 2;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.parquet.schema_force_view_types = false;
    // The default would reserve more for each sort than a small pool holds.
    options.execution.sort_spill_reservation_bytes = options
        .execution
        .sort_spill_reservation_bytes
        .min(limits.memory_bytes / 16);
    // Before the engine's own, which put projections into scans.
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(Projections)];
    rules.extend(PhysicalOptimizer::default().rules);
    let mut builder = SessionStateBuilder::new()
        .with_physical_optimizer_rules(rules)
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_query_planner(Arc::new(Planner));
    for rule in didymium_functions::analyzer_rules() {
        builder = builder.with_analyzer_rule(rule);
    }
    for rule in didymium_functions::physical_rules() {
        builder = builder.with_physical_optimizer_rule(rule);
    }
    builder = builder
        .with_physical_optimizer_rule(Arc::new(Portions))
        .with_physical_optimizer_rule(Arc::new(Yielding));
    if tracing::span_enabled!(target: TRACE, Level::INFO) {
        // Last: a span for each operator of what is then run.
        let options = InstrumentationOptions::builder().record_metrics(true);
        builder = builder.with_physical_optimizer_rule(
            instrument_with_info_spans!(target: TRACE, options: options.build()),
        );
    }
    let mut state = builder.build();
    didymium_functions::register(&mut state)?;
    guard(&mut state)?;
    Ok(state)
}

/// Replaces the functions and operators that give wrong numbers or take all memory.
fn guard(state: &mut SessionState) -> Result<()> {
    let functions: Vec<_> = state.scalar_functions().values().cloned().collect();
    for function in functions.iter().filter_map(bounded::guarded) {
        state.register_udf(function)?;
    }
    state.register_udaf(checked_sum())?;
    state.register_function_rewrite(Arc::new(Guard))
}

/// Tables by name.
pub(crate) type Tables = BTreeMap<String, Arc<dyn TableProvider>>;

/// What a statement's session has of its own.
pub(crate) struct Own<'a> {
    /// Rows of small tables come in one, in order; spreading them over more would cost more than it
    /// gains.
    pub(crate) partitions: usize,
    pub(crate) time_zone: Option<&'a str>,
    /// The memory that the statement may take.
    pub(crate) share: Arc<Share>,
}

/// The session of one statement: `base` with these tables.
pub(crate) fn with_tables(
    base: &SessionState,
    tables: Tables,
    system: Tables,
    own: &Own<'_>,
) -> Result<SessionState> {
    let catalog = MemoryCatalogProvider::new();
    for (name, tables) in [(SCHEMA, tables), (SYSTEM, system)] {
        let schema = MemorySchemaProvider::new();
        for (name, table) in tables {
            schema.register_table(name, table)?;
        }
        catalog.register_schema(name, Arc::new(schema))?;
    }
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let config = base.config().clone();
    let mut config = config.with_target_partitions(own.partitions);
    if let Some(zone) = own.time_zone {
        config.options_mut().execution.time_zone = Some(zone.to_owned());
    }
    // The spill folder and the caches are everybody's; only the memory is the statement's own.
    let mut runtime = base.runtime_env().as_ref().clone();
    runtime.memory_pool = Arc::clone(&own.share) as Arc<dyn MemoryPool>;
    let mut state = SessionStateBuilder::new_from_existing(base.clone())
        .with_config(config)
        .with_runtime_env(Arc::new(runtime))
        .with_catalog_list(Arc::new(catalogs))
        .build();
    // What now() means for the whole statement.
    state.mark_start_execution();
    Ok(state)
}
