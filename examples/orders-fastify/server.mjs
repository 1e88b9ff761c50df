//     KAFKA_BOOTSTRAP_SERVERS=localhost:9092 node server.mjs
import { createApp } from './app.mjs'

const app = await createApp()
await app.listen({ port: 8000 })
