import { Fleet } from './fleet.ts'
await using fleet = await Fleet.start(2)
const [a,b]=[fleet.get(0),fleet.get(1)]
console.log(a.address,b.address)
await a.handle.call('createShards',{shardIds:['live'],dimension:8})
await b.handle.call('autoSync',{shardId:'live',address:a.address})
for(let i=0;i<5;i++){await new Promise(r=>setTimeout(r,700)); console.log(await b.handle.call('autoSyncs',{}), await b.handle.call('usage',{}))}
