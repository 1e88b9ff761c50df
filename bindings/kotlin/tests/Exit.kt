// A program that ends without closing anything.
package headwater

import kotlinx.coroutines.runBlocking

fun main(arguments: Array<String>) = runBlocking {
    val db = Headwater.connect(arguments.single())
    db.admin.createTopic("left")
    val producer = db.producer()
    repeat(1_000) { producer.enqueue("left", "$it") }
}
