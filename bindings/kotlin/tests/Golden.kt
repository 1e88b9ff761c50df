// The golden files of core, and the little JSON that is needed to read them.
package headwater

import java.io.File

internal val golden = File(checkNotNull(System.getenv("HEADWATER_GOLDEN")) { "HEADWATER_GOLDEN names core/tests/golden" })

/** The vectors of a folder: name, bytes, description. */
internal fun vectors(folder: String): List<Triple<String, ByteArray, JsonObject>> {
    val found = File(golden, folder).listFiles { file -> file.extension == "bin" }.orEmpty().sorted()
    check(found.isNotEmpty()) { "no vectors in $golden/$folder" }
    return found.map { Triple(it.nameWithoutExtension, it.readBytes(), json(it.resolveSibling("${it.nameWithoutExtension}.json"))) }
}

internal typealias JsonObject = Map<*, *>

internal fun json(file: File): JsonObject = Json(file.readText()).read() as JsonObject

/** A golden file that is a list. */
internal fun table(name: String): List<JsonObject> =
    (Json(File(golden, name).readText()).read() as List<*>).map { it as JsonObject }

internal fun JsonObject.rows(name: String) = (this[name] as List<*>).map { it as JsonObject }

internal fun JsonObject.long(name: String) = this[name] as Long

internal fun JsonObject.int(name: String) = long(name).toInt()

internal fun JsonObject.bytes(name: String) = hex(this[name])

internal fun JsonObject.headers(name: String) =
    (this[name] as List<*>).map { it as List<*> }.map { Header(it[0] as String, hex(it[1])) }

@OptIn(ExperimentalStdlibApi::class)
internal fun hex(text: Any?): ByteArray? = (text as String?)?.hexToByteArray()

/** Objects, arrays, strings, whole numbers, true, false, null. */
private class Json(private val text: String) {
    private var at = 0

    fun read(): Any? = when (peek()) {
        '{' -> list('{', '}') { (read() as String).also { expect(':') } to read() }.toMap()
        '[' -> list('[', ']') { read() }
        '"' -> string()
        't' -> word("true", true)
        'f' -> word("false", false)
        'n' -> word("null", null)
        else -> number()
    }

    private fun peek(): Char {
        while (text[at].isWhitespace()) at++
        return text[at]
    }

    private fun expect(char: Char) {
        check(peek() == char) { "expected $char at $at" }
        at++
    }

    private fun <T> list(open: Char, close: Char, item: () -> T): List<T> {
        expect(open)
        val items = ArrayList<T>()
        while (peek() != close) {
            if (items.isNotEmpty()) expect(',')
            items += item()
        }
        expect(close)
        return items
    }

    private fun string(): String {
        expect('"')
        val found = StringBuilder()
        while (text[at] != '"') found.append(if (text[at] == '\\') escape() else text[at++])
        at++
        return found.toString()
    }

    private fun escape(): Char {
        at += 2
        return when (val kind = text[at - 1]) {
            'u' -> text.substring(at, at + 4).toInt(16).toChar().also { at += 4 }
            'n' -> '\n'
            't' -> '\t'
            'r' -> '\r'
            'b' -> '\b'
            'f' -> '\u000c'
            else -> kind
        }
    }

    private fun word(name: String, value: Any?): Any? {
        check(text.startsWith(name, at)) { "expected $name at $at" }
        at += name.length
        return value
    }

    private fun number(): Long {
        val start = at
        while (text[at] == '-' || text[at].isDigit()) at++
        return text.substring(start, at).toLong()
    }
}
