// A libp2p client written by others: dials a Headrace node, identifies and pings it, and listens to its topic.
// Usage: node peer.mjs MULTIADDR TOPIC. Prints one JSON object per event and line; ends when its input ends.
import './older-node.mjs'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const [address, topic] = process.argv.slice(2)
const say = (event) => console.log(JSON.stringify(event))

const node = await createLibp2p({
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({ fallbackToFloodsub: false, globalSignaturePolicy: 'StrictSign' })
  },
  connectionGater: { denyDialMultiaddr: () => false }
})

node.addEventListener('peer:identify', ({ detail }) => say({
  event: 'identify',
  peer: detail.peerId.toString(),
  agent: detail.agentVersion,
  protocols: detail.protocols,
  addresses: detail.listenAddrs.map(String)
}))
node.addEventListener('peer:disconnect', ({ detail }) => say({ event: 'disconnect', peer: detail.toString() }))
node.services.pubsub.addEventListener('message', ({ detail }) => say({
  event: 'message',
  from: detail.from?.toString(),
  topic: detail.topic,
  data: Buffer.from(detail.data).toString('base64')
}))
node.services.pubsub.subscribe(topic)

const connection = await node.dial(multiaddr(address))
say({ event: 'connect', peer: connection.remotePeer.toString(), encryption: connection.encryption, muxer: connection.multiplexer })
say({ event: 'ping', milliseconds: await node.services.ping.ping(connection.remotePeer) })

process.stdin.on('end', async () => { await node.stop(); process.exit(0) }).resume()
