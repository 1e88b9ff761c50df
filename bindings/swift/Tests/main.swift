// main [PART_OF_A_NAME]

import Foundation

let filter = CommandLine.arguments.dropFirst().first ?? ""
exit(await run(goldenTests + tableTests, filter: filter))
