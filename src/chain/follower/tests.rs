//! The follower on chains drawn in comments (time runs to the right, `*` is our tip), and on any
//! schedule of mining, forking, lagging and failing.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::chain::testing::{MemoryChain, pay};
use crate::domain::scan::transaction_count;

/// What a caller of the follower keeps: the blocks it has connected.
struct Caller {
    follower: Follower<MemoryChain>,
    connected: Vec<BlockId>,
    rewinds: usize,
}

impl Caller {
    fn of(chain: &Arc<MemoryChain>) -> Self {
        let follower = Follower::new(chain.clone());
        Self { follower, connected: Vec::new(), rewinds: 0 }
    }

    fn tip(&self) -> Option<BlockId> {
        self.connected.last().copied()
    }

    async fn step(&mut self) -> Result<Move, ChainError> {
        let tip = self.tip();
        let step = self.follower.next(tip).await?;
        match &step {
            Move::Connect(block) => {
                assert_eq!(block.id.height as usize, self.connected.len());
                assert_eq!(block.prev, tip.map_or_else(BlockHash::all_zeros, |tip| tip.hash));
                assert_eq!(header_hash(&block.bytes), Some(block.id.hash));
                self.connected.push(block.id);
            }
            Move::Rewind => {
                self.connected.pop();
                self.rewinds += 1;
            }
            Move::AtTip | Move::Behind => {}
        }
        Ok(step)
    }

    async fn run(&mut self) -> Move {
        for _ in 0..1000 {
            match self.step().await {
                Ok(end @ (Move::AtTip | Move::Behind)) => return end,
                Ok(Move::Connect(_) | Move::Rewind) | Err(_) => {}
            }
        }
        panic!("the follower never comes to rest");
    }
}

fn chain(blocks: u32) -> Arc<MemoryChain> {
    let chain = Arc::new(MemoryChain::new());
    chain.mine_empty(blocks);
    chain
}

#[tokio::test]
async fn it_connects_from_the_genesis_block_to_the_tip() {
    //  *0─1─2─3  →  0─1─2─3*
    let chain = chain(3);
    let mut caller = Caller::of(&chain);
    assert_eq!(caller.run().await, Move::AtTip);
    assert_eq!(caller.connected, chain.active());
    assert_eq!(caller.rewinds, 0);
    assert_eq!(caller.step().await, Ok(Move::AtTip));
}

#[tokio::test]
async fn a_block_comes_with_its_times_and_transactions() {
    let chain = chain(0);
    let start = Timestamp::from_secs(1_700_000_000);
    chain.set_next_time(start);
    chain.mine_empty(11);
    let tip = chain.tip();
    let id = chain.mine(vec![pay(&[], 1), pay(&[], 2)]);
    let Ok(Move::Connect(block)) = next(&chain, Some(tip)).await else { panic!("no block") };
    assert_eq!((block.id, block.prev), (id, tip.hash));
    assert_eq!(block.time_at, start.plus_s(11 * 600));
    assert_eq!(block.mtp_at, start.plus_s(6 * 600), "the middle one of the last eleven");
    assert_eq!(transaction_count(&block.bytes), Ok(3));
}

#[tokio::test]
async fn a_reorg_of_depth_five_is_five_rewinds_and_six_connects() {
    //  0─1─2─3─4─5─6─7*        0─1─2─3─4─5─6─7
    //                     →        └─3─4─5─6─7─8*
    let chain = chain(7);
    let mut caller = Caller::of(&chain);
    caller.run().await;
    chain.fork(5, vec![Vec::new(); 6]);
    assert_eq!(caller.run().await, Move::AtTip);
    assert_eq!(caller.rewinds, 5);
    assert_eq!(caller.connected, chain.active());
}

#[tokio::test]
async fn blocks_taken_back_without_others_in_their_place_are_rewound() {
    //  0─1─2─3*  →  0─1*╳2╳3   (invalidateblock)  →  0─1─2─3*  (reconsiderblock)
    let chain = chain(3);
    let end = chain.tip();
    let mut caller = Caller::of(&chain);
    caller.run().await;
    for _ in 0..3 {
        chain.fork(2, Vec::new());
        assert_eq!(caller.run().await, Move::AtTip);
        assert_eq!(caller.connected.len(), 2);
        chain.reconsider(end);
        assert_eq!(caller.run().await, Move::AtTip);
        assert_eq!(caller.tip(), Some(end));
    }
    assert_eq!(caller.rewinds, 6);
}

#[tokio::test]
async fn a_node_that_is_syncing_is_waited_for() {
    //  ours  0─1─2─3─4*     the node knows 0─1─2, perhaps the headers of 3─4
    let chain = chain(4);
    let mut caller = Caller::of(&chain);
    caller.run().await;
    for with_headers in [true, false] {
        chain.lag(2, with_headers);
        assert_eq!(caller.run().await, Move::Behind);
        chain.lag(0, false);
        assert_eq!(caller.run().await, Move::AtTip);
    }
    assert_eq!(caller.rewinds, 0);
}

#[tokio::test]
async fn a_block_read_ahead_is_not_used_after_a_reorg() {
    //  0─1*─2─3        0─1─2─3
    //    (2 is read) →   └─2'─3'─4'
    let chain = chain(3);
    let mut caller = Caller::of(&chain);
    caller.step().await.unwrap();
    caller.step().await.unwrap();
    tokio::task::yield_now().await;
    chain.fork(2, vec![Vec::new(); 3]);
    let Ok(Move::Connect(block)) = caller.step().await else { panic!("no block") };
    assert_eq!(block.id, chain.active()[2]);
    caller.run().await;
    assert_eq!(caller.connected, chain.active());
    assert_eq!(caller.rewinds, 0);
}

#[tokio::test]
async fn the_next_block_is_read_while_the_caller_works() {
    let chain = chain(3);
    let mut follower = Follower::new(chain.clone());
    let Ok(Move::Connect(first)) = follower.next(None).await else { panic!("no block") };
    let ahead = follower.ahead.as_mut().unwrap();
    assert_eq!(ahead.hash, chain.active()[1].hash);
    assert!((&mut ahead.fetch).await.unwrap().is_ok(), "it runs without being asked");
    assert_eq!(first.id.height, 0);
}

#[tokio::test]
async fn a_failure_is_passed_on_and_the_next_try_goes_on() {
    let chain = chain(2);
    let mut caller = Caller::of(&chain);
    let down = ChainError::Busy { detail: "Work queue depth exceeded".to_owned() };
    chain.fail_next(down.clone());
    assert_eq!(caller.step().await, Err(down));
    assert_eq!(caller.run().await, Move::AtTip);
    assert_eq!(caller.connected, chain.active());
}

#[tokio::test]
async fn another_chain_down_to_the_bottom_is_fatal() {
    let chain = chain(2);
    let bottom = BlockId { height: 0, hash: BlockHash::all_zeros() };
    let error = next(&chain, Some(bottom)).await.unwrap_err();
    assert_eq!(error, ChainError::ForeignChain { bottom });
}

#[test]
fn the_next_move_is_read_off_the_header_of_the_tip() {
    let chain = chain(2);
    let header = |height: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(chain.header(&chain.active()[height].hash)).unwrap()
    };
    let (middle, tip) = (header(1), header(2));
    assert_eq!(next_move(middle.as_ref()), NextMove::Connect(tip.unwrap().id.hash));
    assert_eq!(next_move(tip.as_ref()), NextMove::AtTip);
    assert_eq!(next_move(tip.map(|h| Header { active: false, ..h }).as_ref()), NextMove::OffChain);
    assert_eq!(next_move(None), NextMove::OffChain);
}

#[derive(Clone, Debug)]
enum Act {
    Mine(u32),
    Fork { depth: u32, blocks: usize },
    Reconsider(usize),
    Lag { count: u32, with_headers: bool },
    Fail,
    Step(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1..4u32).prop_map(Act::Mine),
        (1..6u32, 0..7usize).prop_map(|(depth, blocks)| Act::Fork { depth, blocks }),
        (0..9usize).prop_map(Act::Reconsider),
        (0..4u32, any::<bool>()).prop_map(|(count, with_headers)| Act::Lag { count, with_headers }),
        Just(Act::Fail),
        (1..9usize).prop_map(Act::Step),
    ]
}

async fn play(acts: Vec<Act>) {
    let chain = chain(3);
    let mut caller = Caller::of(&chain);
    let mut ends = vec![chain.tip()];
    for act in acts {
        match act {
            Act::Mine(count) => chain.mine_empty(count),
            Act::Fork { depth, blocks } => {
                chain.lag(0, false);
                chain.fork(depth.min(chain.tip().height), vec![Vec::new(); blocks]);
            }
            Act::Reconsider(end) => chain.reconsider(ends[end % ends.len()]),
            Act::Lag { count, with_headers } => chain.lag(count, with_headers),
            Act::Fail => chain.fail_next(ChainError::Busy { detail: String::new() }),
            Act::Step(count) => {
                for _ in 0..count {
                    let _ = caller.step().await;
                    tokio::task::yield_now().await;
                }
            }
        }
        ends.push(chain.tip());
    }
    chain.lag(0, false);
    assert_eq!(caller.run().await, Move::AtTip);
    assert_eq!(caller.connected, chain.active());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_schedule_ends_at_the_nodes_tip_with_exactly_its_blocks(acts in vec(act(), 0..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(acts));
    }
}
