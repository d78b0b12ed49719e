use super::*;
use crate::domain::address::PayoutAddress;
use crate::domain::ids::PayoutId;
use crate::domain::money::{Amount, Units};
use crate::domain::payout::Priority;

const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";

fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn dialect() -> Dialect {
    Dialect {
        amount_as: AmountAs::Number,
        recipient: "to".into(),
        amount: "amount".into(),
        currency: None,
        reference: "memo".into(),
        priority: Some("priority".into()),
        id: words("payout_id,data.id"),
        status: words("status,data.status"),
        txid: words("tx_id,data.tx.hash"),
        echo_amount: words("amount,data.amount"),
        echo_address: words("to"),
        reason: words("failure_reason"),
        paid: words("completed,paid"),
        pending: words("pending"),
        failed: words("failed"),
    }
}

fn transfer(units: i64, attempt: u32) -> Transfer {
    Transfer {
        payout: PayoutId::parse("payout_a1").unwrap(),
        attempt,
        amount: Amount { currency: Currency::Usdt, units: Units(units) },
        address: PayoutAddress::parse(ADDRESS, Currency::Usdt).unwrap(),
        priority: Priority::Urgent,
        previous: Vec::new(),
        now: Timestamp(0),
        after_timestamp_ms: 0,
        salt: 7,
    }
}

fn read(text: &str) -> Said {
    dialect().read(text.as_bytes()).unwrap()
}

fn judged(text: &str) -> Verdict {
    let transfer = transfer(12_500_000, 1);
    judge::judge(&dialect(), &read(text), &Expected { amount: transfer.amount, address: &transfer.address }, Some("7"))
}

fn doubt(text: &str) -> ReviewKind {
    match judged(text) {
        Verdict::Doubt { kind, .. } => kind,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_request_is_the_same_bytes_each_time_with_exact_amounts() {
    let one = Outgoing::new("/pay", &dialect(), &transfer(12_500_000, 1));
    assert_eq!(one.body, format!(r#"{{"to":"{ADDRESS}","amount":12.5,"memo":"payout_a1","priority":"urgent"}}"#));
    assert_eq!(one.to_bytes(), Outgoing::new("/pay", &dialect(), &transfer(12_500_000, 1)).to_bytes());
    assert_eq!(Outgoing::read(&one.to_bytes()).as_ref(), Some(&one));
    assert_eq!(Outgoing::new("/pay", &dialect(), &transfer(1, 3)).key, "payout_a1-3");
    for (units, text) in [(1, "0.000001"), (900_719_925_474_099_301, "900719925474.099301"), (10_000_000, "10")] {
        assert!(Outgoing::new("/pay", &dialect(), &transfer(units, 1)).body.contains(&format!("\"amount\":{text},")), "{text}");
    }
}

#[test]
fn answers_are_read_by_the_first_field_that_is_there_and_numbers_as_they_are_written() {
    let said = read(r#"{"data":{"id":17,"status":"PAID","tx":{"hash":"ab"},"amount":900719925474.099301},"payout_id":null}"#);
    assert_eq!((said.id.as_deref(), said.status.as_deref(), said.txid.as_deref()), (Some("17"), Some("PAID"), Some("ab")));
    assert_eq!(said.amount.as_deref(), Some("900719925474.099301"));
    assert_eq!(dialect().word("PAID"), dialect::Word::Paid);
    for nothing in ["", "[]", "7", "<html>", "{"] {
        assert_eq!(dialect().read(nothing.as_bytes()), None, "{nothing}");
    }
    for id in ["..", "", "a b", "ü"] {
        assert_eq!(read(&format!(r#"{{"payout_id":"{id}"}}"#)).id, None, "{id} is no name");
    }
    assert_eq!(dialect().read_all(br#"[{"payout_id":1},{"payout_id":2}]"#).unwrap().len(), 2);
    assert_eq!(dialect().read_all(br#"[{"payout_id":1},3]"#), None);
    assert_eq!(outgoing::in_path("a/b?c=1&d .ü"), "a%2Fb%3Fc%3D1%26d%20.%C3%BC");
}

#[test]
fn what_an_answer_means() {
    assert_eq!(judged(r#"{"payout_id":"7","status":"pending"}"#), Verdict::Pending);
    for amount in ["12.5", "12.500000", "1.25e1", "\"12.50\""] {
        let text = format!(r#"{{"payout_id":7,"status":"Completed","tx_id":"ab","amount":{amount},"to":"{ADDRESS}"}}"#);
        assert_eq!(judged(&text), Verdict::Paid { txid: "ab".into() }, "{text}");
    }
    for amount in ["12.500001", "12.49", "\"many\"", "12.5000000001", "-12.5"] {
        assert_eq!(doubt(&format!(r#"{{"status":"pending","amount":{amount}}}"#)), ReviewKind::Conflict, "{amount}");
    }
    assert_eq!(doubt(r#"{"status":"paid","tx_id":"ab","to":"TVjsyZ7fYF3qLF6BQgPmTEZy1xrNNyVAAA"}"#), ReviewKind::Conflict);
    assert_eq!(doubt(r#"{"payout_id":"8","status":"paid","tx_id":"ab"}"#), ReviewKind::Conflict);
    for unclear in
        [r#"{}"#, r#"{"status":"done"}"#, r#"{"status":"paid"}"#, r#"{"status":"paid","tx_id":""}"#, r#"{"status":"paid","tx_id":"a b"}"#]
    {
        assert_eq!(doubt(unclear), ReviewKind::Ambiguous, "{unclear}");
    }
    let failed = judged(r#"{"status":"failed","failure_reason":"no money"}"#);
    assert_eq!(failed, Verdict::Failed { reason: "the service: no money".into(), txid: None });
}

#[test]
fn a_word_means_one_thing() {
    let twice = Dialect { failed: words("Paid"), ..dialect() };
    assert!(dialect().check().is_ok() && twice.check().unwrap_err().contains("paid"));
}
