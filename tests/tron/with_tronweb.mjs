// tronweb pays 12.5 USDT to an address that has none, and holds the node to what it knows of TRON.
import assert from 'node:assert/strict';
import { TronWeb } from 'tronweb';

const USDT = 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t';
const TRANSFER = 'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';
const AMOUNT = 12_500_000n;
const { TRON_NODE, TRON_KEY, TRON_PAYEE: payee } = process.env;

const client = new TronWeb({ fullHost: TRON_NODE, privateKey: TRON_KEY });
const payer = client.defaultAddress.base58;
const bodyOf = (address) => client.address.toHex(address).slice(2);

const until = async (what, seconds) => {
  for (const began = Date.now(); Date.now() - began < seconds * 1000; ) {
    const found = await what();
    if (found && Object.keys(found).length > 0) return found;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`nothing after ${seconds} s`);
};

const token = await client.contract().at(USDT);
const balanceOf = (address) => token.balanceOf(address).call();
assert.equal(await token.symbol().call(), 'USDT');
assert.equal(Number(await token.decimals().call()), 6);
const before = await balanceOf(payer);
assert.equal(before, 1_000_000_000n);
assert.equal(await balanceOf(payee), 0n);
assert.equal(await client.trx.getBalance(payer), 1_000_000_000);
const prices = Object.fromEntries((await client.trx.getChainParameters()).map(({ key, value }) => [key, value]));
assert.equal(prices.getEnergyFee, 100);

// By the node: it builds, tronweb checks what it built against what it asked for.
const parameters = [{ type: 'address', value: payee }, { type: 'uint256', value: AMOUNT.toString() }];
const simulated = await client.transactionBuilder.triggerConstantContract(USDT, 'transfer(address,uint256)', {}, parameters);
assert.equal(simulated.energy_used, 130_285);
const built = await client.transactionBuilder.triggerSmartContract(
  USDT,
  'transfer(address,uint256)',
  { feeLimit: 30_000_000 },
  parameters,
);
const signed = await client.trx.sign(built.transaction);
const sent = await client.trx.sendRawTransaction(signed);
assert.equal(sent.result, true);
assert.equal(sent.txid, signed.txID);
const again = await client.trx.sendRawTransaction(signed);
assert.equal(again.code, 'DUP_TRANSACTION_ERROR');
assert.equal(client.toUtf8(again.message), 'Dup transaction.');

const receipt = await until(() => client.trx.getUnconfirmedTransactionInfo(signed.txID), 20);
assert.equal(receipt.id, signed.txID);
assert.equal(receipt.receipt.result, 'SUCCESS');
assert.equal(receipt.result, undefined);
assert.deepEqual(await client.trx.getTransactionInfo(signed.txID), {}, 'not final yet');
const final = await until(() => client.trx.getTransactionInfo(signed.txID), 40);
assert.deepEqual(final, receipt);
assert.deepEqual(receipt.log, [
  {
    address: bodyOf(USDT),
    topics: [TRANSFER, bodyOf(payer).padStart(64, '0'), bodyOf(payee).padStart(64, '0')],
    data: AMOUNT.toString(16).padStart(64, '0'),
  },
]);
const confirmed = await client.trx.getConfirmedTransaction(signed.txID);
assert.equal(confirmed.ret[0].contractRet, 'SUCCESS');
const block = await client.trx.getBlockByNumber(receipt.blockNumber);
assert.ok(block.transactions.some((each) => each.txID === signed.txID));
assert.equal(await balanceOf(payer), before - AMOUNT);
assert.equal(await balanceOf(payee), AMOUNT);
assert.equal(await client.trx.getUnconfirmedBalance(payer), 1_000_000_000 - receipt.fee);

// By itself: tronweb builds, and sends the bytes.
const local = await client.transactionBuilder.triggerSmartContract(
  USDT,
  'transfer(address,uint256)',
  { feeLimit: 30_000_000, txLocal: true },
  parameters,
);
const second = await client.trx.sign(local.transaction);
const hex = await client.trx.sendRawTransaction(second);
assert.equal(hex.result, true);
const cheaper = await until(() => client.trx.getUnconfirmedTransactionInfo(second.txID), 20);
assert.equal(cheaper.receipt.energy_usage_total, 64_285, 'the payee holds USDT by now');
assert.equal(await balanceOf(payee), 2n * AMOUNT);

const activated = await client.trx.sendTransaction(payee, 1_000_000);
assert.equal(activated.result, true);
await until(() => client.trx.getUnconfirmedTransactionInfo(activated.txid), 20);
assert.equal(await client.trx.getUnconfirmedBalance(payee), 1_000_000);
console.log('tronweb: paid, refused twice, final');
