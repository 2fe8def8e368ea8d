import { userInfo } from "node:os";

/** Who works at this command line, as this machine knows them. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return "somebody"; // a user of a container may have no name
  }
}
