//! The jobs of a store: their definitions, each a small file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use didymium_engine::Grants;
use didymium_store::{OwnFolder, Store};
use serde::{Deserialize, Serialize};

use crate::{Definition, Error, Result};

/// A job as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What it is.
    pub definition: Definition,
    /// The id of its owner's token, whose rights its runs have.
    pub owner: String,
    /// Its owner, for people.
    pub owner_name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was changed last.
    pub changed_ms: i64,
    /// From when on its runs count: what fell due before is not made up for.
    pub active_since_ms: i64,
    /// Whether it rests until it is resumed.
    pub paused: bool,
    /// Whether a file of the server's folder of jobs declares it.
    pub from_file: bool,
}

/// Whose rights a job's runs have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The token's id.
    pub id: String,
    /// For people.
    pub name: String,
    /// The tables that it opens.
    pub grants: Grants,
    /// Whether it may write.
    pub may_write: bool,
    /// Whether it sees others' jobs and runs.
    pub oversees: bool,
}

/// The definitions in a store.
#[derive(Debug, Clone)]
pub struct Jobs {
    store: Arc<Store>,
}

impl Job {
    fn new(definition: Definition, owner: &Owner, now_ms: i64) -> Self {
        Self {
            definition,
            owner: owner.id.clone(),
            owner_name: owner.name.clone(),
            created_ms: now_ms,
            changed_ms: now_ms,
            active_since_ms: now_ms,
            paused: false,
            from_file: false,
        }
    }

    /// The same job with another definition. Where its schedule is another one, runs count from now on.
    fn changed(self, definition: Definition, now_ms: i64) -> Self {
        let has_moved = definition.schedule != self.definition.schedule;
        Self {
            active_since_ms: match has_moved {
                true => now_ms,
                false => self.active_since_ms,
            },
            changed_ms: now_ms,
            definition,
            ..self
        }
    }
}

impl Jobs {
    /// The jobs of this store.
    pub fn of(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Makes a job.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Invalid`] for one that could start itself.
    pub async fn create(&self, definition: Definition, owner: &Owner, now_ms: i64) -> Result<Job> {
        self.refuse_circles(&definition, owner).await?;
        let job = Job::new(definition, owner, now_ms);
        match self.keep(&job, false).await? {
            true => Ok(job),
            false => Err(Error::AlreadyExists(job.definition.name)),
        }
    }

    /// Changes a job. Where its schedule is another one, runs count from now on.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::Invalid`] for one that could start itself.
    pub async fn update(&self, definition: Definition, owner: &Owner, now_ms: i64) -> Result<Job> {
        let before = self.get(&definition.name).await?;
        self.refuse_circles(&definition, owner).await?;
        let job = before.changed(definition, now_ms);
        self.keep(&job, true).await?;
        Ok(job)
    }

    /// Forgets a job. Its runs stay in the history.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::Precondition`] where another one comes after it.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.get(name).await?;
        let all = self.list().await?;
        let follower = all
            .iter()
            .find(|job| job.definition.schedule.after() == Some(name));
        if let Some(follower) = follower {
            return Err(Error::Precondition(format!(
                "the job {} comes after {name}: delete or change it first",
                follower.definition.name
            )));
        }
        Ok(self.store.delete_own_file(OwnFolder::Jobs, name).await?)
    }

    /// One job.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Damaged`].
    pub async fn get(&self, name: &str) -> Result<Job> {
        let is_name = crate::definition::is_name(name);
        let file = match is_name {
            true => self.store.own_file(OwnFolder::Jobs, name).await?,
            false => None,
        };
        let file = file.ok_or_else(|| unknown(name))?;
        serde_json::from_slice(&file).map_err(|_| Error::Damaged(name.to_owned()))
    }

    /// Every job, by its name. One that is damaged is told in the program's log and left out.
    ///
    /// # Errors
    /// Where the storage fails.
    pub async fn list(&self) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for name in self.store.own_names(OwnFolder::Jobs).await? {
            match self.get(&name).await {
                Ok(job) => jobs.push(job),
                // Deleted meanwhile.
                Err(Error::Unknown(_)) => {}
                Err(error @ Error::Damaged(_)) => tracing::error!(%error, "left out"),
                Err(error) => return Err(error),
            }
        }
        Ok(jobs)
    }

    /// Lets a job rest, or wakes it: what fell due meanwhile is not made up for, and runs that failed before
    /// do not count any more.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub async fn set_paused(&self, name: &str, paused: bool, now_ms: i64) -> Result<Job> {
        let mut job = self.get(name).await?;
        job.paused = paused;
        if !paused {
            job.active_since_ms = now_ms;
        }
        self.keep(&job, true).await?;
        Ok(job)
    }

    /// Makes the jobs that files declare what the files say, and forgets those whose files have gone.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a name that a job has which no file declares.
    pub async fn declare(&self, declared: Vec<(Definition, Owner)>, now_ms: i64) -> Result<()> {
        let known = self.list().await?;
        let names: Vec<String> = declared.iter().map(|(it, _)| it.name.clone()).collect();
        for (definition, owner) in in_order(declared) {
            let name = definition.name.clone();
            let before = known.iter().find(|job| job.definition.name == name);
            let job = match before {
                None => Job::new(definition, &owner, now_ms),
                Some(job) if !job.from_file => {
                    return Err(Error::Precondition(format!(
                        "a file declares the job {name}, which was made by a client: delete one of them"
                    )));
                }
                Some(job) if job.definition == definition && job.owner == owner.id => continue,
                Some(job) => job.clone().changed(definition, now_ms),
            };
            self.refuse_circles(&job.definition, &owner).await?;
            let job = Job {
                owner: owner.id,
                owner_name: owner.name,
                from_file: true,
                ..job
            };
            self.keep(&job, true).await?;
        }
        let mut gone = self.list().await?;
        gone.retain(|job| job.from_file && !names.contains(&job.definition.name));
        let gone = gone.into_iter().map(|job| (job.definition, ()));
        // Those that come after others first.
        for (definition, ()) in in_order(gone.collect()).into_iter().rev() {
            self.delete(&definition.name).await?;
        }
        Ok(())
    }

    async fn keep(&self, job: &Job, replace: bool) -> Result<bool> {
        let name = &job.definition.name;
        let file = serde_json::to_vec_pretty(job).map_err(|_| Error::Damaged(name.clone()))?;
        let kept = self
            .store
            .put_own_file(OwnFolder::Jobs, name, file, replace);
        Ok(kept.await?)
    }

    /// A job must not start itself, by way of others either.
    async fn refuse_circles(&self, definition: &Definition, owner: &Owner) -> Result<()> {
        let mut jobs: BTreeMap<String, Definition> = BTreeMap::new();
        let mut others = BTreeSet::new();
        for job in self.list().await? {
            if job.owner != owner.id && !owner.oversees {
                others.insert(job.definition.name.clone());
            }
            jobs.insert(job.definition.name.clone(), job.definition);
        }
        if let Some(before) = definition.schedule.after()
            && (others.contains(before) || !jobs.contains_key(before))
        {
            return Err(Error::Invalid(format!(
                "job {}: there is no job {before} to come after",
                definition.name
            )));
        }
        jobs.insert(definition.name.clone(), definition.clone());
        let mut way = vec![definition.name.as_str()];
        match circle(&jobs, &mut way, &mut BTreeSet::new()) {
            false => Ok(()),
            true => {
                let said = way.iter().map(|name| match others.contains(*name) {
                    true => "a job of somebody else's",
                    false => name,
                });
                Err(Error::Invalid(format!(
                    "job {}: it would start itself: {}",
                    definition.name,
                    said.collect::<Vec<_>>().join(", then ")
                )))
            }
        }
    }
}

/// The same, each after the one that it comes after, where that is among them.
fn in_order<T>(jobs: Vec<(Definition, T)>) -> Vec<(Definition, T)> {
    let (mut ordered, mut left) = (Vec::new(), jobs);
    while !left.is_empty() {
        let names: Vec<String> = left.iter().map(|(job, _)| job.name.clone()).collect();
        let waits = |job: &Definition| {
            let before = job.schedule.after();
            before.is_some_and(|before| names.iter().any(|name| name == before))
        };
        let (waiting, ready): (Vec<_>, Vec<_>) = left.into_iter().partition(|(job, _)| waits(job));
        if ready.is_empty() {
            // A circle, which is refused where it is made.
            ordered.extend(waiting);
            break;
        }
        ordered.extend(ready);
        left = waiting;
    }
    ordered
}

/// Whether the jobs that start one another lead back to the first. The way is left as it was found.
fn circle<'a>(
    jobs: &'a BTreeMap<String, Definition>,
    way: &mut Vec<&'a str>,
    seen: &mut BTreeSet<&'a str>,
) -> bool {
    let Some(last) = way.last().and_then(|name| jobs.get(*name)) else {
        return false;
    };
    let started = jobs.values().filter(|job| {
        job.schedule.after() == Some(last.name.as_str())
            || (job.schedule.watched().is_some() && job.schedule.watched() == last.target_table())
    });
    for next in started {
        let leads_back = way.contains(&next.name.as_str());
        if !leads_back && !seen.insert(&next.name) {
            // Looked at before: it does not lead back.
            continue;
        }
        way.push(&next.name);
        if leads_back || circle(jobs, way, seen) {
            return true;
        }
        way.pop();
    }
    false
}

pub(crate) fn unknown(name: &str) -> Error {
    Error::Unknown(format!("there is no job {name}"))
}
