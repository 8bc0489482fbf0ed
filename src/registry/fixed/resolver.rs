//! Asks for the addresses of a host name as the system would: `/etc/hosts` first, DNS then.
//!
//! Used by the `fixed` kind. It keeps no cache, since the keeper holds what was answered.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use hickory_resolver::{
    Hosts, TokioResolver,
    config::ResolverConfig,
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::read_system_conf,
};
use parking_lot::Mutex;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// One try of one server; the keeper's own waits stand above it.
const TRY: Duration = Duration::from_secs(2);

/// How long a name that does not exist is believed not to, where its zone does not say.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// What `/etc/hosts` and `localhost` say holds this long.
const LOCAL_TTL: Duration = Duration::from_secs(5);

/// Resolves host names.
#[async_trait]
pub(super) trait Resolve: Send + Sync + 'static {
    /// All addresses of one family. That there are none is an answer; an error means that nobody knows.
    async fn resolve(&self, name: &str, family: Family) -> Result<Answer, ResolveError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

/// The addresses of a name, and how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// Nobody knows: servers fail, time out, or there are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ResolveError(pub(super) String);

/// The system's own configuration, read again whenever its files change.
#[derive(Default)]
pub(super) struct SystemResolver {
    built: Mutex<Option<(Stamp, Arc<Built>)>>,
}

/// When the files were changed last, where they are there.
type Stamp = [Option<SystemTime>; 2];

struct Built {
    hosts: Hosts,
    /// Without servers only `/etc/hosts` and `localhost` can be asked.
    dns: Result<Dns, String>,
}

struct Dns {
    resolver: TokioResolver,
    config: ResolverConfig,
    ndots: usize,
}

// === impl SystemResolver ===

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str, family: Family) -> Result<Answer, ResolveError> {
        if let Some(answer) = localhost(name, family) {
            return Ok(answer);
        }
        let name = Name::from_ascii(name).map_err(|error| ResolveError(error.to_string()))?;
        let built = self.built().await?;
        match built.in_hosts(&name, family) {
            Some(answer) => Ok(answer),
            None => built.in_dns(&name, family).await,
        }
    }
}

impl SystemResolver {
    /// What was built of the files as they are now.
    async fn built(&self) -> Result<Arc<Built>, ResolveError> {
        let last = self.built.lock().clone();
        let build = move || {
            let stamp = [RESOLV_CONF, HOSTS].map(changed_at);
            match last {
                Some((built_at, built)) if built_at == stamp => (built_at, built),
                _ => (stamp, Arc::new(Built::of_system())),
            }
        };
        let (stamp, built) = tokio::task::spawn_blocking(build)
            .await
            .map_err(|_| ResolveError("the system's configuration cannot be read".into()))?;
        *self.built.lock() = Some((stamp, built.clone()));
        Ok(built)
    }
}

// === impl Built ===

impl Built {
    fn of_system() -> Self {
        Self { hosts: Hosts::from_system().unwrap_or_default(), dns: Dns::of_system() }
    }

    /// A name that stands in `/etc/hosts` is not asked for elsewhere, not even its other family.
    fn in_hosts(&self, name: &Name, family: Family) -> Option<Answer> {
        let ask = |family| {
            let lookup = self.hosts.lookup_static_host(&Query::query(name.clone(), record(family)));
            lookup.map(|lookup| addresses(&lookup, family))
        };
        let (v4, v6) = (ask(Family::V4), ask(Family::V6));
        let known = v4.is_some() || v6.is_some();
        let addresses = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        known.then(|| Answer { addresses: addresses.unwrap_or_default(), ttl: LOCAL_TTL })
    }

    /// Goes through the search domains as the system's resolver does: the first name that has addresses is meant; that
    /// there is none is only known when every server said so.
    async fn in_dns(&self, name: &Name, family: Family) -> Result<Answer, ResolveError> {
        let dns = self.dns.as_ref().map_err(|error| ResolveError(error.clone()))?;
        let (mut negative, mut failed) = (NEGATIVE_TTL, None);
        for candidate in dns.candidates(name) {
            match dns.resolver.lookup(candidate, record(family)).await {
                Ok(lookup) => {
                    let answer = positive(&lookup, family);
                    if !answer.addresses.is_empty() {
                        return Ok(answer);
                    }
                }
                Err(error) => match no_records(&error) {
                    Some(ttl) => negative = ttl,
                    None => failed = Some(ResolveError(error.to_string())),
                },
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Answer { addresses: Vec::new(), ttl: negative }),
        }
    }
}

// === impl Dns ===

impl Dns {
    fn of_system() -> Result<Self, String> {
        let (config, mut options) = read_system_conf().map_err(|error| error.to_string())?;
        options.cache_size = 0;
        options.timeout = options.timeout.min(TRY);
        let ndots = options.ndots;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config.clone(), provider);
        let resolver = builder.with_options(options).build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, config, ndots })
    }

    /// The full names that a name may stand for, in the order of resolv.conf(5).
    fn candidates(&self, name: &Name) -> Vec<Name> {
        let mut bare = name.clone();
        bare.set_fqdn(true);
        if name.is_fqdn() {
            return vec![bare];
        }
        // `search` and `domain` exclude each other.
        let search = self.config.search();
        let domain = self.config.domain().filter(|_| search.is_empty());
        let mut all: Vec<_> = search
            .iter()
            .chain(domain)
            .filter_map(|domain| name.clone().append_domain(domain).ok())
            .collect();
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let at = if dots >= self.ndots { 0 } else { all.len() };
        all.insert(at, bare);
        all
    }
}

/// RFC 6761, section 6.3: these names never leave the machine.
fn localhost(name: &str, family: Family) -> Option<Answer> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let local = bare == "localhost" || bare.ends_with(".localhost");
    local.then(|| {
        let address = match family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        };
        Answer { addresses: vec![address], ttl: LOCAL_TTL }
    })
}

fn record(family: Family) -> RecordType {
    match family {
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    }
}

fn positive(lookup: &Lookup, family: Family) -> Answer {
    // An alias on the way may expire before the address does.
    let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
    Answer { addresses: addresses(lookup, family), ttl: Duration::from_secs(ttl.into()) }
}

fn addresses(lookup: &Lookup, family: Family) -> Vec<IpAddr> {
    let all = lookup.answers().iter().filter_map(|record| record.data.ip_addr());
    all.filter(|ip| ip.is_ipv4() == (family == Family::V4)).collect()
}

/// How long it holds that there are no such records, if that is what the error says.
fn no_records(error: &NetError) -> Option<Duration> {
    let NetError::Dns(DnsError::NoRecordsFound(no)) = error else { return None };
    Some(no.negative_ttl.map_or(NEGATIVE_TTL, |ttl| Duration::from_secs(ttl.into())))
}

fn changed_at(path: &str) -> Option<SystemTime> {
    Path::new(path).metadata().and_then(|metadata| metadata.modified()).ok()
}
