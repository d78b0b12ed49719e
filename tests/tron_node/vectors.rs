//! Transactions on which independent clients agree are understood as they mean them.

use serde_json::Value;

use crate::support::tron::Address;
use crate::support::tron::address::{hash_of, hex, unhex};
use crate::support::tron::token::{TRANSFER, selector, transfer_topic};
use crate::support::tron::transaction::{Call, Transaction, sign, signer};

fn vectors() -> Value {
    include_str!("../fixtures/tron_vectors.json").parse().unwrap()
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().unwrap_or_else(|| panic!("{key} of {vector}"))
}

fn bytes(vector: &Value, key: &str) -> Vec<u8> {
    unhex(text(vector, key)).unwrap()
}

#[test]
fn keys_have_the_addresses_that_clients_give_them() {
    for account in vectors()["accounts"].as_array().unwrap() {
        let key = hash_of(text(account, "private_key")).unwrap();
        let address = Address::of_private_key(&key).unwrap();
        assert_eq!(address.base58(), text(account, "address"));
        assert_eq!(address.hex(), text(account, "address_hex"));
        assert_eq!(Address::from_base58(text(account, "address")), Some(address));
        assert_eq!(Address::of_public_key(&bytes(account, "public_key_uncompressed_xy")), address);
    }
}

#[test]
fn addresses_are_judged_as_they_should_be() {
    let vectors = vectors();
    let list = vectors["addresses"].as_array().unwrap();
    assert_eq!(list.len(), 20);
    for vector in list {
        let input = text(vector, "input");
        let strict = Address::from_base58(input).is_some_and(|address| address.base58() == input);
        assert_eq!(strict, vector["valid"] == true, "{vector}");
    }
}

#[test]
fn transfers_are_decoded_to_their_fields_and_signers() {
    let vectors = vectors();
    let mut transfers = 0;
    for vector in vectors["transactions"].as_array().unwrap() {
        let name = text(vector, "name");
        let signed = vector.get("signed_tx_hex_v27").and_then(Value::as_str);
        let Some(signed) = signed else { continue };
        let transaction = Transaction::decode(&unhex(signed).unwrap()).unwrap_or_else(|_| panic!("{name}"));
        assert_eq!(hex(&transaction.txid), text(vector, "txid"), "{name}");
        assert_eq!(transaction.raw.encode(), bytes(vector, "raw_data_hex"), "{name}: what was decoded is all there was");
        assert_eq!(hex(&transaction.encode()), signed, "{name}");
        let raw = &transaction.raw;
        assert_eq!(raw.call.owner().base58(), text(vector, "owner"), "{name}");
        if vector["kind"] == "trc20_transfer" {
            let Call::TriggerSmartContract { contract, call_value: 0, data, .. } = &raw.call else { panic!("{name}") };
            assert_eq!(contract.base58(), text(vector, "contract"), "{name}");
            assert_eq!(hex(data), text(vector, "abi_data"), "{name}");
            assert_eq!(Address::from_word(&data[4..36].try_into().unwrap()).base58(), text(vector, "to"), "{name}");
            assert_eq!(u128::from_be_bytes(data[52..].try_into().unwrap()), u128::from(vector["amount_units"].as_u64().unwrap()));
            assert_eq!(i64::try_from(vector["fee_limit_sun"].as_u64().unwrap()), Ok(raw.fee_limit), "{name}");
            transfers += 1;
        }
        if let Some(reference) = vector.get("ref_block_bytes").and_then(Value::as_str) {
            assert_eq!(hex(&raw.ref_block_bytes), reference, "{name}");
            assert_eq!(hex(&raw.ref_block_hash), text(vector, "ref_block_hash"), "{name}");
        }
        assert_eq!(vector["timestamp_ms"].as_i64(), Some(raw.timestamp_ms), "{name}");
        assert_eq!(vector["expiration_ms"].as_i64(), Some(raw.expiration_ms), "{name}");
        if let Some(bandwidth) = vector.get("bandwidth_bytes").and_then(Value::as_i64) {
            assert_eq!(transaction.bandwidth(), bandwidth, "{name}");
        }
        for form in ["signature_tronweb_v27", "signature_tronpy_v01"] {
            let recovered = signer(&transaction.txid, &bytes(vector, form)).unwrap();
            assert_eq!(recovered, raw.call.owner(), "{name}: {form}");
        }
        let own = sign(&transaction.txid, &hash_of(text(vector, "private_key")).unwrap()).unwrap();
        assert_eq!(hex(&own), text(vector, "signature_tronweb_v27"), "{name}");
    }
    assert_eq!(transfers, 5);
}

#[test]
fn a_real_nodes_transaction_is_encoded_as_the_node_did() {
    let vector = &vectors()["node_capture"];
    let mut whole = crate::support::tron::protobuf::Writer::default();
    whole.message(1, &bytes(vector, "raw_data_hex"));
    let transaction = Transaction::decode(&whole.0).unwrap();
    assert_eq!(hex(&transaction.txid), text(vector, "txid"));
    assert_eq!(hex(&transaction.raw.encode()), text(vector, "raw_data_hex"));
    assert_eq!(transaction.raw.call.owner().hex(), text(vector, "owner_hex"));
}

#[test]
fn signers_of_real_transactions_are_recovered() {
    let vectors = vectors();
    let list = vectors["documentation_signed_captures"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    for vector in list {
        let txid = hash_of(text(vector, "txid")).unwrap();
        assert_eq!(crate::support::tron::address::sha256(&bytes(vector, "raw_data_hex")), txid);
        assert_eq!(signer(&txid, &bytes(vector, "signature")).unwrap().hex(), text(vector, "recovers_to_hex"));
    }
}

#[test]
fn functions_and_events_have_the_names_that_contracts_know() {
    assert_eq!(selector("transfer(address,uint256)"), TRANSFER);
    assert_eq!(hex(&transfer_topic()), "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
}

#[test]
fn the_other_signature_over_the_same_bytes_has_the_same_signer() {
    let vectors = vectors();
    let vector = &vectors["transactions"][0];
    let txid = hash_of(text(vector, "txid")).unwrap();
    let mut bytes = bytes(vector, "signature_tronweb_v27");
    let (r, s) = k256::ecdsa::Signature::from_slice(&bytes[..64]).unwrap().split_scalars();
    let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    bytes[..64].copy_from_slice(&high.to_bytes());
    bytes[64] = 27 + (1 - (bytes[64] - 27));
    assert_eq!(signer(&txid, &bytes).unwrap().base58(), text(vector, "owner"));
}
