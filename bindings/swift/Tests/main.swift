// main [PART_OF_A_NAME]
// main --end-without-closing FOLDER

import Foundation

let arguments = CommandLine.arguments.dropFirst()
if arguments.first == "--end-without-closing", let folder = arguments.last {
    try await endWithoutClosing(folder)
    exit(0)
}
let tests =
    goldenTests + folderTests + tableTests + connectTests + roundTripTests + producerTests
    + consumerTests + memberTests + processTests + closingTests + (try scenarioTests())
exit(await run(tests, filter: arguments.first ?? ""))
