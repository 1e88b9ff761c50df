// Orders: what is posted goes to the topic `orders`, and the group `billing` writes an invoice for each.
import Fastify from 'fastify'
import { Kafka, logLevel } from 'kafkajs'

const schema = {
  type: 'object',
  required: ['customer', 'cents'],
  properties: { customer: { type: 'string' }, cents: { type: 'integer', minimum: 1 } },
}

/** The application, connected to Kafka; `close` disconnects it. */
export async function createApp() {
  const brokers = (process.env.KAFKA_BOOTSTRAP_SERVERS ?? 'localhost:9092').split(',')
  const kafka = new Kafka({ clientId: 'orders', brokers, logLevel: logLevel.ERROR })
  const producer = kafka.producer()
  const billing = kafka.consumer({ groupId: 'billing', maxWaitTimeInMs: 500 })
  await Promise.all([producer.connect(), billing.connect()])
  await billing.subscribe({ topic: 'orders', fromBeginning: true })
  // An order is committed once its invoice is safe: none is lost.
  await billing.run({
    eachMessage: async ({ partition, message: { key, offset, value } }) => {
      const invoice = { order: `${partition}-${offset}`, cents: JSON.parse(value).cents }
      await producer.send({ topic: 'invoices', messages: [{ key, value: JSON.stringify(invoice) }] })
    },
  })

  const app = Fastify()
  app.post('/orders', { schema: { body: schema } }, async ({ body }, reply) => {
    const messages = [{ key: body.customer, value: JSON.stringify(body) }]
    const [{ partition, baseOffset }] = await producer.send({ topic: 'orders', messages })
    return reply.code(202).send({ order: `${partition}-${baseOffset}` })
  })
  app.addHook('onClose', async () => {
    await billing.disconnect()
    await producer.disconnect()
  })
  return app
}
