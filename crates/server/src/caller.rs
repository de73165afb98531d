//! Who makes a call, and what they may do.

use std::fmt;

use didymium_engine::{ErrorKind, Grants};
use serde::{Deserialize, Serialize};
use tonic::{Extensions, Status};

use crate::status::refused;

/// What a caller may do; each may do all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Ask.
    Read,
    /// Load, and make and drop tables and views.
    Write,
    /// Plan jobs, which write.
    Schedule,
    /// See and stop what others run.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Schedule => "schedule",
            Self::Admin => "admin",
        })
    }
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The token's id: what a caller owns is owned by the token, not by a name that another may bear.
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) grants: Grants,
}

impl Caller {
    /// Whoever calls a server without authentication, which listens to its own machine only.
    pub(crate) fn local() -> Self {
        Self {
            id: "local".to_owned(),
            name: "local".to_owned(),
            role: Role::Admin,
            grants: Grants::All,
        }
    }

    /// Whoever makes a call that anybody may make.
    pub(crate) fn nobody() -> Self {
        Self {
            id: String::new(),
            name: "nobody".to_owned(),
            role: Role::Read,
            grants: Grants::Prefixed(Vec::new()),
        }
    }

    /// The caller whom the guard at the door has let in.
    ///
    /// # Errors
    /// INTERNAL where the guard has let nobody in: a fault of ours.
    pub(crate) fn of(extensions: &Extensions) -> Result<Self, Status> {
        let caller = extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Status::internal("the call has no caller"))
    }

    /// # Errors
    /// PERMISSION_DENIED, naming the right.
    pub(crate) fn require(&self, role: Role) -> Result<(), Status> {
        match self.role >= role {
            true => Ok(()),
            false => Err(refused(
                ErrorKind::Denied,
                format!(
                    "this needs a token of the role '{role}'; yours has the role '{}'",
                    self.role
                ),
            )),
        }
    }

    /// Who is noted to have done something: whoever shows a token does it under its name.
    pub(crate) fn author(&self, said: String) -> String {
        match self.is_local() && !said.is_empty() {
            true => said,
            false => self.name.clone(),
        }
    }

    fn is_local(&self) -> bool {
        self == &Self::local()
    }

    /// Whether something that another caller runs may be seen and stopped.
    pub(crate) fn oversees(&self, owner: &str) -> bool {
        self.role == Role::Admin || self.id == owner
    }
}
