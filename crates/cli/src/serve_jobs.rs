//! What a server needs to run jobs: an engine of their own, and the files that declare them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use didymium_engine::{Engine, Limits};
use didymium_jobs::{Declared, Policy, Settings, Webhooks};
use didymium_store::{Exports, Store};

use crate::args::{JobArgs, ServeArgs};
use crate::failure::Failure;
use crate::serve::limits;

/// All of it.
pub(crate) struct Jobs {
    pub(crate) engine: Arc<Engine>,
    pub(crate) settings: Settings,
    pub(crate) declared: Option<Vec<Declared>>,
}

impl Jobs {
    pub(crate) async fn of(args: &ServeArgs, store: &Arc<Store>) -> Result<Self, Failure> {
        let jobs = &args.jobs;
        let exports = match &jobs.exports {
            None => Exports::within(store),
            Some(place) => Exports::at(place).await?,
        };
        let engine = Engine::new(Arc::clone(store), job_limits(args), crate::now_ms)?;
        Ok(Self {
            engine: Arc::new(engine),
            settings: Settings {
                slots: jobs.job_slots,
                lease: jobs.job_lease,
                history: jobs.job_history,
                exports,
                webhooks: webhooks(jobs)?,
            },
            declared: jobs.job_files.as_deref().map(declared).transpose()?,
        })
    }
}

/// Jobs have memory and threads of their own, and their threads give way to those of queries.
fn job_limits(args: &ServeArgs) -> Limits {
    let queries = limits(&args.limits);
    let memory = args.jobs.job_memory.map(|size| size.as_u64());
    let memory = memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let memory_bytes = memory.unwrap_or(queries.memory_bytes / 4);
    Limits {
        memory_bytes,
        query_memory_bytes: memory_bytes,
        // Each job says how long it may take.
        timeout: Policy::LONGEST,
        in_background: true,
        ..queries
    }
}

fn webhooks(args: &JobArgs) -> Result<Webhooks, Failure> {
    let Some(file) = &args.webhook_key else {
        return Ok(Webhooks::default());
    };
    let key = fs::read(file);
    let key = key.map_err(|error| Failure::own(format!("{}: {error}", file.display())))?;
    let key = key.trim_ascii();
    if key.len() < 16 {
        return Err(Failure::own(format!(
            "{}: a key that signs has at least 16 bytes",
            file.display()
        )));
    }
    let webhooks = Webhooks::below(&args.webhook_allow, key);
    webhooks.map_err(|error| Failure::from(error).of_configuration())
}

/// The jobs of a folder, each in a file of its own.
fn declared(folder: &Path) -> Result<Vec<Declared>, Failure> {
    let unreadable = |error| Failure::own(format!("{}: {error}", folder.display()));
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let files = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut files = files.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    let declared = files.iter().map(|file| {
        let fault =
            |error: &dyn std::fmt::Display| Failure::own(format!("{}: {error}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| fault(&error))?;
        Declared::parse(&text).map_err(|error| fault(&error))
    });
    declared.collect()
}
