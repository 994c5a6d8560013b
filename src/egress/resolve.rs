//! Name resolution that hands out only addresses that the policy admits.
//!
//! The connector connects to what is returned here and asks no one else, so an answer that changes between the check and
//! the connection (DNS rebinding) changes nothing.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Policy;

pub(super) struct GuardedResolver {
    policy: Policy,
}

/// Why a name gave no address to connect to.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum NoAddress {
    #[error("no address is admitted")]
    Refused,
    #[error("no address")]
    Unresolved,
}

impl GuardedResolver {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|_| NoAddress::Unresolved)?;
            let admitted = admitted(found, policy)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

fn admitted(found: impl Iterator<Item = SocketAddr>, policy: Policy) -> Result<Vec<SocketAddr>, NoAddress> {
    let mut found = found.peekable();
    if found.peek().is_none() {
        return Err(NoAddress::Unresolved);
    }
    let admitted: Vec<SocketAddr> = found.filter(|address| policy.admits(address.ip())).collect();
    if admitted.is_empty() {
        return Err(NoAddress::Refused);
    }
    Ok(admitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mixed_answer_only_the_public_addresses_are_handed_out() {
        let mixed: Vec<SocketAddr> = ["10.0.0.1:0", "93.184.215.14:0", "[::1]:0", "169.254.169.254:0"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let kept = admitted(mixed.into_iter(), Policy::default()).unwrap();
        assert_eq!(kept, ["93.184.215.14:0".parse().unwrap()]);
        assert!(matches!(
            admitted(std::iter::empty(), Policy::default()),
            Err(NoAddress::Unresolved)
        ));
    }
}
