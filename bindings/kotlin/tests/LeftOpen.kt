// A program that leaves its broker open, and prints that one's pid.
package headwater

import kotlin.system.exitProcess

fun main(arguments: Array<String>) {
    HeadwaterBroker.start()
    val broker = ProcessHandle.current().descendants().filter { "headwater-" in it.info().command().orElse("") }
    println(broker.findFirst().get().pid())
    when (arguments.single()) {
        "exit" -> exitProcess(0)
        "kill" -> Thread.sleep(Long.MAX_VALUE)
    }
}
