use super::*;
use crate::chain::testing::{MemoryChain, pay};

async fn pass(seen: &mut Mempool, chain: &MemoryChain) -> (Vec<Txid>, Vec<Txid>) {
    let difference = seen.compare(chain).await.unwrap();
    let mut read_ids = Vec::new();
    for chunk in difference.added.chunks(CHUNK) {
        for (txid, raw) in read(chain, chunk).await.unwrap() {
            let tx: bitcoin::Transaction = bitcoin::consensus::deserialize(&raw).unwrap();
            assert_eq!(tx.compute_txid(), txid);
            read_ids.push(txid);
        }
    }
    seen.record_seen(read_ids.iter().copied());
    seen.record_removed(&difference.removed);
    (read_ids, difference.removed)
}

#[tokio::test]
async fn each_transaction_is_read_once_and_missed_once() {
    let chain = MemoryChain::new();
    let mut seen = Mempool::new();
    let (a, b, c) = (chain.send(pay(&[], 1)), chain.send(pay(&[], 2)), chain.send(pay(&[], 3)));
    let (mut first, none) = pass(&mut seen, &chain).await;
    first.sort_unstable();
    let mut all = vec![a, b, c];
    all.sort_unstable();
    assert_eq!((first, none), (all, vec![]));
    assert_eq!(pass(&mut seen, &chain).await, (vec![], vec![]));

    chain.evict(&b);
    let d = chain.send(pay(&[], 4));
    assert_eq!(pass(&mut seen, &chain).await, (vec![d], vec![b]));
    chain.mine_pending();
    let (none, mut gone) = pass(&mut seen, &chain).await;
    gone.sort_unstable();
    let mut left = vec![a, c, d];
    left.sort_unstable();
    assert_eq!((none, gone), (vec![], left));
    assert!(seen.is_empty());
}

#[tokio::test]
async fn what_was_not_recorded_is_in_the_next_difference_again() {
    let chain = MemoryChain::new();
    let mut seen = Mempool::new();
    let txid = chain.send(pay(&[], 1));
    let difference = Difference { added: vec![txid], removed: vec![] };
    assert_eq!(seen.compare(&chain).await, Ok(difference.clone()));
    assert_eq!(seen.compare(&chain).await, Ok(difference));
    seen.record_seen([txid]);
    chain.evict(&txid);
    let gone = Difference { added: vec![], removed: vec![txid] };
    assert_eq!(seen.compare(&chain).await, Ok(gone.clone()));
    assert_eq!(seen.compare(&chain).await, Ok(gone));
}

#[tokio::test]
async fn a_transaction_that_vanishes_before_it_is_read_is_left_out() {
    let chain = MemoryChain::new();
    let (a, b) = (chain.send(pay(&[], 1)), chain.send(pay(&[], 2)));
    let difference = Mempool::new().compare(&chain).await.unwrap();
    assert_eq!(difference.added.len(), 2);
    chain.evict(&a);
    let read = read(&chain, &[a, b]).await.unwrap();
    assert_eq!(read.iter().map(|(txid, _)| *txid).collect::<Vec<_>>(), [b]);
}
