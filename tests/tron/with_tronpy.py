"""tronpy pays 12.5 USDT to an address that has none, and holds the node to what it knows of TRON."""

import os

from tronpy import Tron
from tronpy.exceptions import UnknownError, ValidationError
from tronpy.keys import PrivateKey
from tronpy.providers import HTTPProvider

USDT = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
TRANSFER = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
AMOUNT = 12_500_000

client = Tron(HTTPProvider(os.environ["TRON_NODE"]))
key = PrivateKey(bytes.fromhex(os.environ["TRON_KEY"]))
payer = key.public_key.to_base58check_address()
payee = os.environ["TRON_PAYEE"]

token = client.get_contract(USDT)
assert token.functions.symbol() == "USDT" and token.functions.decimals() == 6
before = token.functions.balanceOf(payer)
assert before == 1_000_000_000, before
assert token.functions.balanceOf(payee) == 0
trx = client.get_account_balance(payer)
assert trx == 1000, trx
assert client.get_account_resource(payer)["freeNetLimit"] == 600
prices = {each["key"]: each.get("value") for each in client.get_chain_parameters()}
assert prices["getEnergyFee"] == 100 and prices["getTransactionFee"] == 1000

transfer = token.functions.transfer(payee, AMOUNT).with_owner(payer).fee_limit(30_000_000).build().sign(key)
sent = transfer.broadcast()
assert sent["result"] is True and sent["txid"] == transfer.txid, sent
try:
    transfer.broadcast()
    raise AssertionError("the same transaction was taken twice")
except UnknownError as error:
    assert "DUP_TRANSACTION_ERROR" in str(error.args), error.args

receipt = sent.wait(timeout=20, interval=0.2)
assert receipt["id"] == transfer.txid and receipt["receipt"]["result"] == "SUCCESS", receipt
solid = client.get_latest_solid_block_number()
assert solid < receipt["blockNumber"], "the receipt was there before its block was final"
final = sent.wait(timeout=40, interval=0.2, solid=True)
assert final == receipt, (final, receipt)
assert client.get_latest_solid_block_number() >= receipt["blockNumber"]
assert sent.result() is False, "the token returns nothing but false"
(log,) = receipt["log"]
assert log["address"] == USDT and log["topics"][0] == TRANSFER, log
assert log["topics"][1].endswith(client.to_hex_address(payer)[2:]) and log["topics"][2].endswith(client.to_hex_address(payee)[2:])
assert int(log["data"], 16) == AMOUNT

block = client.get_block(receipt["blockNumber"])
assert transfer.txid in [each["txID"] for each in block["transactions"]]
assert client.get_block(block["blockID"])["block_header"] == block["block_header"]
assert client.get_transaction(transfer.txid)["ret"][0]["contractRet"] == "SUCCESS"
assert token.functions.balanceOf(payer) == before - AMOUNT
assert token.functions.balanceOf(payee) == AMOUNT
assert client.get_account_balance(payer) * 1_000_000 == 1_000_000_000 - receipt["fee"], receipt

# More than there is: included, failed, and paid for.
poor = token.functions.transfer(payee, before).with_owner(payer).fee_limit(30_000_000).build().sign(key).broadcast()
failed = poor.wait(timeout=20, interval=0.2)
assert failed["result"] == "FAILED" and failed["receipt"]["result"] == "REVERT" and failed["fee"] > 0, failed
assert token.functions.balanceOf(payee) == AMOUNT

# TRX to an address that the chain does not know yet.
activation = client.trx.transfer(payer, payee, 1_000_000).build().sign(key).broadcast().wait(timeout=20, interval=0.2)
assert client.get_account_balance(payee) == 1, activation
try:
    client.trx.transfer(payer, payee, 10**12).build().sign(key).broadcast()
    raise AssertionError("TRX that nobody has was taken")
except ValidationError as error:
    assert "balance is not sufficient" in str(error), error
print("tronpy: paid, refused twice, final")
