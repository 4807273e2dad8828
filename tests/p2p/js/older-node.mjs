// js-libp2p 3 asks for Node 22; this is all that Node 20 lacks for it.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}
