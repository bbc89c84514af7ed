use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn healthy(network: Network) -> NodeState {
    let genesis = genesis_block(network).block_hash();
    NodeState {
        chain: network.to_core_arg().to_owned(),
        genesis,
        tip: BlockId { height: 100, hash: genesis },
        tip_at: NOW.minus_s(600),
        headers: 100,
        initial_block_download: false,
        peers: 8,
        prune_height: None,
        pruned: false,
        version: 290_000,
        subversion: "/Satoshi:29.0.0/".to_owned(),
    }
}

#[test]
fn a_node_is_taken_only_on_the_configured_network_and_genesis() {
    for network in [Network::Bitcoin, Network::Testnet4, Network::Signet, Network::Regtest] {
        assert_eq!(healthy(network).check_network(network), Ok(()));
    }
    let error = healthy(Network::Signet).check_network(Network::Bitcoin).unwrap_err();
    assert!(error.to_string().contains("on signet, but bitcoind.network is bitcoin"));
    let genesis = genesis_block(Network::Signet).block_hash();
    let forged = NodeState { genesis, ..healthy(Network::Bitcoin) };
    assert!(forged.check_network(Network::Bitcoin).is_err());
}

#[test]
fn each_weakness_of_a_node_is_named() {
    let good = healthy(Network::Bitcoin);
    let doubt = |node: &NodeState, stored| node.doubt(stored, NOW, 4 * 3600);
    assert_eq!(doubt(&good, Some(100)), None);
    assert_eq!(doubt(&good, None), None);
    let syncing = NodeState { initial_block_download: true, headers: 900, ..good.clone() };
    assert_eq!(doubt(&syncing, None), Some(Doubt::Syncing { blocks: 100, headers: 900 }));
    assert_eq!(doubt(&good, Some(101)), Some(Doubt::Behind { blocks: 100, stored: 101 }));
    assert_eq!(doubt(&NodeState { peers: 0, ..good.clone() }, None), Some(Doubt::NoPeers));
    let stale = NodeState { tip_at: NOW.minus_s(4 * 3600 + 1), ..good.clone() };
    assert_eq!(doubt(&stale, None), Some(Doubt::StaleTip { age_s: 4 * 3600 + 1 }));
    let ahead = NodeState { tip_at: NOW.plus_s(7000), ..good };
    assert_eq!(doubt(&ahead, None), None, "miners may be two hours early");
}

#[test]
fn regtest_needs_neither_peers_nor_fresh_blocks() {
    let alone = NodeState {
        peers: 0,
        tip_at: Timestamp::from_secs(0),
        initial_block_download: true,
        ..healthy(Network::Regtest)
    };
    assert_eq!(alone.doubt(Some(100), NOW, 1), None);
    assert_eq!(alone.doubt(Some(101), NOW, 1), Some(Doubt::Behind { blocks: 100, stored: 101 }));
}
