//! The driver: lives one process after another through the world's agenda, and looks at the end whether all came right.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, U256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::time::{sleep, sleep_until};
use tollgate::domain::{GateAction, Interval};
use tollgate::engine::{CreateCharge, CreateGate, Engine, ExpireCharges, Origin, RefoldDue};
use tollgate::store::Store;

use super::disk::{Disk, End};
use super::gate::Keeper;
use super::miner::{Due, seconds};
use super::net::{Shared, chain_changed, lock};
use super::oracle;
use super::plan::{DAWN_MS, Plan};
use super::process::{Instance, Vigil, open, runtime};
use super::readiness;
use super::tx;
use super::upheaval;
use super::world::{Deed, World};

/// Blocks of calm after which everything must be right.
const MAX_CALM_BLOCKS: u64 = 60;

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Everything that was to happen has happened.
    AtPeace,
    Stopped,
    Crashed,
}

/// Lives a world to its end, on a database of its own.
pub fn live(plan: &Plan, database: &Path, is_kept: bool) -> World {
    let vigil = Arc::new(Vigil::default());
    // A runtime's clock is needed to make the world; it begins with the first process.
    let first = runtime(&vigil);
    let shared = Arc::new(std::sync::Mutex::new(
        first.block_on(async { World::new(plan.clone(), is_kept) }),
    ));
    drop(first);
    let mut at_ms = DAWN_MS;
    for life in 0..100 {
        let crash = {
            let mut world = lock(&shared);
            (!world.crashes.is_empty()).then(|| world.crashes.remove(0))
        };
        let disk = Arc::new(Disk::new(plan.disk, crash, plan.random(200 + life)));
        if lock(&shared).is_calm() {
            disk.calm();
        }
        let ended = process(&shared, &disk, database, at_ms);
        at_ms = lock(&shared).ended_ms;
        if ended == Ended::AtPeace {
            break;
        }
        wait_until_closed(database);
        at_ms += 1_000;
    }
    Arc::into_inner(shared)
        .expect("every process is over")
        .into_inner()
        .expect("nobody panicked with the world in hand")
}

/// Connections of a process that ended are closed by threads of their own; nobody else may have the file meanwhile.
fn wait_until_closed(database: &Path) {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .locking_mode(SqliteLockingMode::Exclusive)
        .busy_timeout(Duration::from_millis(20));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let alone = || async {
        let mut conn = SqliteConnection::connect_with(&options).await?;
        conn.execute("begin exclusive; rollback").await?;
        conn.close().await
    };
    for _ in 0..500 {
        if runtime.block_on(alone()).is_ok() {
            return;
        }
    }
    panic!("a process that ended still has its database");
}

fn process(shared: &Shared, disk: &Arc<Disk>, database: &Path, at_ms: i64) -> Ended {
    let vigil = Arc::new(Vigil::default());
    let runtime = runtime(&vigil);
    let _keeper = tracing::subscriber::set_default(Keeper::new(Arc::clone(&vigil.gate)));
    let end: Arc<End> = Arc::clone(&disk.end);
    let ended = runtime.block_on(async {
        lock(shared).begin_process(Arc::clone(disk), at_ms);
        let life = tokio::spawn(life(
            Arc::clone(shared),
            Arc::clone(disk),
            database.to_owned(),
            Arc::clone(&vigil),
        ));
        let ended = tokio::select! {
            biased;
            () = end.wait() => Ended::Crashed,
            ended = life => ended.expect("the driver does not panic"),
        };
        lock(shared).end_process(format_args!("the process ended: {ended:?}"));
        ended
    });
    vigil.gate.leave_open();
    // Whatever was under way is dropped where it stands.
    drop(runtime);
    ended
}

/// What one process lives through.
struct Life {
    shared: Shared,
    store: Store,
    instances: Vec<Instance>,
}

async fn life(shared: Shared, disk: Arc<Disk>, database: std::path::PathBuf, vigil: Arc<Vigil>) -> Ended {
    let Ok(store) = open(&database, &disk).await else {
        return Ended::Stopped;
    };
    vigil.watch(store.clone());
    let Ok(instance) = Instance::start(&shared, &store).await else {
        return Ended::Stopped;
    };
    let mut life = Life {
        shared,
        store,
        instances: vec![instance],
    };
    let ended = life.through_the_agenda().await;
    for instance in life.instances.into_iter().rev() {
        instance.stop().await;
    }
    ended
}

impl Life {
    async fn through_the_agenda(&mut self) -> Ended {
        loop {
            let at = {
                let world = lock(&self.shared);
                world.next_ms().map(|at_ms| world.instant(at_ms))
            };
            // What was agreed meanwhile may come before it.
            let Some(at) = at else {
                return Ended::AtPeace;
            };
            sleep_until(at).await;
            let Some(deed) = lock(&self.shared).next_deed() else {
                return Ended::AtPeace;
            };
            match deed {
                Deed::Mine => {
                    if self.is_at_peace().await {
                        return Ended::AtPeace;
                    }
                    lock(&self.shared).weather();
                    chain_changed(&self.shared);
                }
                Deed::Restart => return Ended::Stopped,
                Deed::Rival => self.rival().await,
                Deed::Charge(tenant) => self.charge(tenant),
                Deed::Gate(contract) => self.gate(contract),
                Deed::Pay(amount) => {
                    let mut world = lock(&self.shared);
                    let now_ms = world.now_ms();
                    world.pay(amount, now_ms);
                }
                Deed::Deadlines => self.deadlines().await,
                Deed::Inspect => self.inspect().await,
                Deed::FullDisk(is_full) => self.fill_disk(is_full).await,
                Deed::Forge(slot) => lock(&self.shared).forge(slot),
                Deed::Overturn => {
                    self.inspect().await;
                    lock(&self.shared).overturn();
                }
                Deed::ComeBack => lock(&self.shared).come_back(),
                Deed::Resolve => self.resolve().await,
            }
        }
    }

    fn newest(&self) -> &Instance {
        self.instances.last().expect("there is an instance")
    }

    /// Any of them serves.
    fn engine(&self) -> Engine {
        let count = u64::try_from(self.instances.len()).unwrap();
        let which = lock(&self.shared).random.below(count);
        self.instances[usize::try_from(which).unwrap()].engine.clone()
    }

    async fn rival(&mut self) {
        lock(&self.shared).tell(format_args!("another instance"));
        if let Ok(instance) = Instance::start(&self.shared, &self.store).await {
            self.instances.push(instance);
        }
    }

    fn charge(&self, tenant: u64) {
        let command = CreateCharge {
            origin: origin(),
            tenant: format!("tenant-{tenant}").parse().unwrap(),
            user: None,
            plan: "pro".to_owned(),
            interval: if tenant == 1 {
                Interval::Year
            } else {
                Interval::Month
            },
            chain: None,
            token: None,
            when_active: None,
            idempotency: None,
        };
        let (engine, shared) = (self.engine(), Arc::clone(&self.shared));
        tokio::spawn(async move {
            let asked = engine.execute(command).await;
            let mut world = lock(&shared);
            let now_ms = world.now_ms();
            match asked {
                Ok(asked) => {
                    let due = asked.answer["due"]["baseUnits"].as_str().unwrap();
                    world.owes(due.parse().unwrap(), now_ms);
                }
                Err(_) => world.agree(now_ms + 700, Deed::Charge(tenant)),
            }
        });
    }

    fn gate(&self, contract: Address) {
        let rule = tx::rule(contract);
        let command = CreateGate {
            origin: origin(),
            tenant: "acme".parse().unwrap(),
            name: "members".to_owned(),
            description: None,
            enabled: true,
            action: GateAction::GrantAccess,
            rule,
            from_block: Some(0),
            view: |gate, _| serde_json::json!({"id": gate.id}),
            idempotency: None,
        };
        let (engine, shared) = (self.engine(), Arc::clone(&self.shared));
        // Whoever hears nothing asks again; the same contract is watched once.
        lock(&shared).gates.insert(contract);
        tokio::spawn(async move {
            let made = engine.execute(command).await.is_ok();
            let mut world = lock(&shared);
            world.gates.remove(&contract);
            let now_ms = world.now_ms();
            if !made {
                world.agree(now_ms + 700, Deed::Gate(contract));
            }
        });
    }

    async fn deadlines(&self) {
        let engine = self.engine();
        // A database that fails is asked again by the next who looks.
        let _failed = engine.execute(ExpireCharges).await;
        let _failed = engine.execute(RefoldDue).await;
    }

    /// A person comes by every few blocks.
    async fn resolve(&self) {
        {
            let mut world = lock(&self.shared);
            let again_ms = world.now_ms() + 3 * world.plan.block_ms;
            world.agree(again_ms, Deed::Resolve);
        }
        upheaval::resolve(&self.shared, &self.store, &self.newest().engine).await;
    }

    async fn inspect(&self) {
        let Ok(mut conn) = self.store.read().await else {
            return;
        };
        oracle::inspect(&mut conn, &self.shared).await;
        for instance in &self.instances {
            readiness::judge_readiness(&self.shared, &instance.engine, &instance.health);
            readiness::judge_quarantine(&mut conn, &self.shared, &instance.engine, &instance.health).await;
        }
    }

    /// The file may grow no more, or again.
    async fn fill_disk(&self, is_full: bool) {
        let pages = if is_full { 1 } else { 1_000_000 };
        lock(&self.shared).tell(format_args!("the disk is full: {is_full}"));
        loop {
            if let Ok(mut conn) = self.store.read().await {
                let pragma = sqlx::AssertSqlSafe(format!("pragma max_page_count = {pages}"));
                conn.execute(pragma).await.expect("a pragma");
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the storm is over, and everything is as it must be. Begins the calm where its time has come.
    async fn is_at_peace(&self) -> bool {
        {
            let mut world = lock(&self.shared);
            if !world.is_calm() {
                if world.now_ms() >= world.plan.storm_until_ms {
                    world.calm();
                    world.tell(format_args!("calm"));
                }
                return false;
            }
            world.calm_blocks += 1;
        }
        let is_late = lock(&self.shared).calm_blocks > MAX_CALM_BLOCKS;
        let unrest = |instance: &Instance| oracle::unrest(&self.shared, &instance.engine, &instance.health);
        if let Some(trouble) = self.instances.iter().find_map(unrest) {
            let mut world = lock(&self.shared);
            if !is_late {
                world.aside(format_args!("not yet: {trouble}"));
                return false;
            }
            world.breach(format!("it never came right: {trouble}"));
        }
        self.inspect().await;
        for instance in &self.instances {
            oracle::judge_answers(&self.shared, &instance.engine);
        }
        true
    }
}

fn origin() -> Origin {
    Origin {
        actor: "key:sim".to_owned(),
        cause: "the simulator".to_owned(),
    }
}

impl World {
    /// A charge waits for this amount.
    fn owes(&mut self, due: U256, now_ms: i64) {
        self.tell(format_args!("a charge"));
        if due.is_zero() {
            return;
        }
        let since_s = seconds(now_ms);
        self.dues.push(Due { amount: due, since_s });
        let block = self.plan.block_ms.unsigned_abs();
        let soon = |random: &mut crate::random::Random| {
            now_ms + i64::try_from(random.between(50, 4 * block)).unwrap()
        };
        let times = self.random.pick(&[1, 1, 1, 1, 2, 0]);
        for _ in 0..times {
            let at = soon(&mut self.random);
            self.agree(at, Deed::Pay(due));
        }
        if self.random.chance(15) {
            let at = soon(&mut self.random);
            self.agree(at, Deed::Pay(due / U256::from(2)));
        }
    }

    /// One transaction that pays, alone or among others, once or twice.
    fn pay(&mut self, amount: U256, now_ms: i64) {
        self.tell(format_args!("a payment"));
        let mut acts = Vec::new();
        if self.random.chance(30) {
            acts.push(tx::oddity(&mut self.random));
        }
        acts.push(tx::payment(amount));
        if self.random.chance(30) {
            acts.push(tx::movement(&mut self.random));
        }
        if self.random.chance(10) {
            acts.push(tx::payment(amount));
        }
        self.miner.send(acts, now_ms);
    }
}
