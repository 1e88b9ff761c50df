package headwater

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.coroutines.runBlocking

class ConnectTest {
    @Test
    fun `localhost alone is no address, and the message says what is`() = runBlocking<Unit> {
        val refused = fails(ErrorKind.InvalidArgument, "INVALID_ADDRESS") { Headwater.connect("localhost") }
        assertTrue("localhost:9092" in refused.message!!, refused.message)
        assertEquals(Outcome.NotDone, refused.outcome)
    }

    @Test
    fun `a path that is a file is refused`() = runBlocking<Unit> {
        val file = newPath().apply { writeText("not a log") }
        fails(ErrorKind.InvalidArgument, "NOT_A_FOLDER") { Headwater.connect(file.path) }
    }

    @Test
    fun `a folder that is missing is created only if it may be`() = runBlocking<Unit> {
        fails(ErrorKind.NotFound, "FOLDER_NOT_FOUND") { Headwater.connect(newPath().path) { create = false } }
    }

    @Test
    fun `a port where nobody listens is unavailable`() = runBlocking<Unit> {
        val port = java.net.ServerSocket(0).use { it.localPort }
        assertTrue(fails(ErrorKind.Unavailable, "NETWORK_EXCEPTION") { Headwater.connect("127.0.0.1:$port") }.retriable)
    }

    @Test
    fun `an option out of range is refused before anything is opened`() = runBlocking<Unit> {
        val folder = newPath()
        fails(ErrorKind.InvalidArgument, "INVALID_OPTION") { Headwater.connect(folder.path) { segmentBytes = 7 } }
        assertTrue(!folder.exists())
    }

    @Test
    fun `addresses are read by one parser`() {
        assertEquals("localhost:9092", Headwater.parse("headwater://localhost"))
        fails(ErrorKind.InvalidArgument, "INVALID_ADDRESS") { Headwater.parse("") }
    }

    @Test
    fun `the library that is loaded is the one the bindings were made for`() {
        // Throws if a signature differs.
        headwater.ffi.uniffiEnsureInitialized()
    }
}
